/* SPDX-License-Identifier: MIT */
/* libcurl, loaded when something is to be exchanged, see http_parts.h. */
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* Whether the loader wrote into the code of ${object} (System V ABI, DT_TEXTREL): that could not be read again. */
static bool
has_changed_code(const struct dl_phdr_info *object)
{
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);

		if (object->dlpi_phdr[i].p_type != PT_DYNAMIC)
			continue;
		for (; entry->d_tag != DT_NULL; entry++)
			if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0))
				return true;
	}
	return false;
}

static int
give_back_code(struct dl_phdr_info *object, size_t size, void *arg)
{
	const uintptr_t *page = arg;

	(void)size;
	for (size_t i = 0; i < object->dlpi_phnum && !has_changed_code(object); i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		uintptr_t from = (object->dlpi_addr + part->p_vaddr + *page - 1) / *page * *page;
		uintptr_t upto = (object->dlpi_addr + part->p_vaddr + part->p_filesz) / *page * *page;

		if (part->p_type == PT_LOAD && (part->p_flags & PF_W) == 0 && from < upto)
			(void)madvise((void *)from, upto - from, MADV_DONTNEED);	/* NOLINT(performance-no-int-to-ptr): an address */
	}
	return 0;
}

void
http_curl_give_back(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)dl_iterate_phdr(give_back_code, &page);
}

int
http_curl_load(struct px_err *err)
{
	static void *library;

	if (library == NULL) {
		library = open_library();
		if (library == NULL)
			return px_err_set(err, PX_BUG, "cannot load '%s': %s", PX_LIBCURL, dlerror());
		http_curl_give_back();
	}
#define FIND(name) \
	if (find(library, "curl_" #name, &http_curl.name, err) == -1) \
		return -1;
	HTTP_CURL_FUNCTIONS(FIND)
#undef FIND
	return 0;
}
