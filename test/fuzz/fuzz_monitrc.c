/* SPDX-License-Identifier: MIT */
/* A control file of Monit's with any content: libFuzzer. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "monitrc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_fact(void *arg, const struct px_monitrc_fact *fact)
{
	const struct px_slice *text = arg;

	if (fact->text.ptr < text->ptr || fact->text.ptr + fact->text.len > text->ptr + text->len || fact->line == 0)
		abort();
	if (fact->service.len > 0 &&
	    (fact->service.ptr < text->ptr || fact->service.ptr + fact->service.len > text->ptr + text->len))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct px_slice text = { (const char *)data, size };

	px_monitrc_read(text, check_fact, &text);
	return 0;
}
