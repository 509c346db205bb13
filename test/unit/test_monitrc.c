/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "monitrc.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Facts as text: "KIND TEXT@LINE(SERVICE)" with a ! for one in a check system, each with a blank behind it. */
static void
add_fact(void *arg, const struct px_monitrc_fact *fact)
{
	static const char *const kinds[] = { "include", "service", "interface", "command" };

	px_buf_printf(arg, "%s %.*s@%zu(%.*s)%s ", kinds[fact->kind], (int)fact->text.len, fact->text.ptr, fact->line,
	    (int)fact->service.len, fact->service.len > 0 ? fact->service.ptr : "", fact->in_system ? "!" : "");
}

static const struct {
	const char *text;
	const char *facts;
} rows[] = {
	{ "", "" },
	{ "set daemon 120\nset log /var/log/monit.log\n", "" },
	{ "include /etc/monit/conf.d/*", "include /etc/monit/conf.d/*@1() " },
	{ "\n INCLUDE \"/a b/*\"\ninclude '/c'\n", "include /a b/*@2() include /c@3() " },
	{ "include\n  /a # /b\n", "include /a@2() " },
	{ "include /a include /b", "include /a@1() include /b@1() " },
	{ "# include /a\n#include /b\n", "" },
	{ "set x \"include /a\"\n", "" },
	{ "include", "" },
	{ "check file include with path /a\n", "service include@1(include) " },
	{ "check file \"check system\" with path /a\n", "service check system@1(check system) " },
	{ "check system $HOST\n", "service $HOST@1($HOST)! " },
	{ "Check System \"my host\"\n if swap > 1% then exec \"/e cpu\" else if succeeded then exec \"/e  cpu\"\n",
	    "service my host@1(my host)! command /e cpu@2(my host)! command /e  cpu@2(my host)! " },
	{ "check system a check file b with path /b if changed size then exec /e",
	    "service a@1(a)! service b@1(b) command /e@1(b) " },
	{ "check system a\nset daemon 3\nif x then exec \" /e\"", "service a@1(a)! command  /e@3() " },
	{ "check system", "" },
	{ "check", "" },
	{ "check network n with interface eth0", "service n@1(n) interface eth0@1(n) " },
	{ "check network n interface \"eth0\"", "service n@1(n) interface eth0@1(n) " },
	{ "check host n with address interface eth0", "service n@1(n) " },
	{ "check program p with path \"/p health\" with timeout 3 seconds", "service p@1(p) command /p health@1(p) " },
	{ "check program p path\n/p", "service p@1(p) command /p@2(p) " },
	{ "check file p with path /p", "service p@1(p) " },
	{ "check file p with path /p exec \"/unclosed and\nlong", "service p@1(p) command /unclosed and\nlong@1(p) " },
	{ "x\"multi\nline\"include /a", "include /a@2() " },
	{ "include \"\"", "include @1() " },
	{ "include \"", "include @1() " },
};

static void
each_fact_is_told_with_its_line_and_service(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_buf facts = PX_BUF(4096);

		px_monitrc_read(px_slice(rows[i].text), add_fact, &facts);
		assert_string_equal(px_buf_text(&facts), rows[i].facts);
		px_buf_clear(&facts);
	}
}

static void
any_bytes_are_read_to_their_end(void **state)
{
	static const char bytes[] = "include\0/a\xff\0\"check\0system\n' check system x";
	struct px_buf facts = PX_BUF(4096);

	(void)state;
	px_monitrc_read((struct px_slice){ bytes, sizeof(bytes) - 1 }, add_fact, &facts);
	assert_string_equal(px_buf_text(&facts), "");
	px_buf_clear(&facts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fact_is_told_with_its_line_and_service),
		cmocka_unit_test(any_bytes_are_read_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
