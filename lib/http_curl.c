/* SPDX-License-Identifier: MIT */
/* libcurl, loaded when something is to be exchanged, see http_parts.h. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "http_parts.h"

struct http_curl http_curl;

static int
find(void *library, const char *name, void *function, struct px_err *err)
{
	void *symbol = dlsym(library, name);

	if (symbol == NULL)
		return px_err_set(err, PX_BUG, "cannot use '%s': it has no %s", PX_LIBCURL, name);
	memcpy(function, &symbol, sizeof(symbol));
	return 0;
}

/*
 * Debian's libcurl brings GnuTLS along, for a protocol that is not ours; it would get itself ready as it is loaded (see
 * "Initialization" in its manual). A libcurl that is built on it does that when it needs it.
 */
static void *
open_library(void)
{
	static const char name[] = "GNUTLS_NO_IMPLICIT_INIT";
	bool is_ours = getenv(name) == NULL && setenv(name, "1", 0) == 0;
	void *library = dlopen(PX_LIBCURL, RTLD_LAZY | RTLD_LOCAL);

	if (is_ours)
		(void)unsetenv(name);
	return library;
}

int
http_curl_load(struct px_err *err)
{
	static void *library;

	if (library == NULL)
		library = open_library();
	if (library == NULL)
		return px_err_set(err, PX_BUG, "cannot load '%s': %s", PX_LIBCURL, dlerror());
#define FIND(name) \
	if (find(library, "curl_" #name, &http_curl.name, err) == -1) \
		return -1;
	HTTP_CURL_FUNCTIONS(FIND)
#undef FIND
	return 0;
}
