/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "measure.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* What is measured in a description of Monit: name, value, unit ("" for a count), operator and limit. */
static const struct {
	const char *description;
	const char *name;
	double value;
	const char *unit;
	const char *operator;
	double limit;
} rows[] = {
	/* Failures of system and process, Monit 5.33 */
	{ "cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]", "cpu usage", 99.7, "%", ">", 80.0 },
	{ "total cpu usage of 120.5% matches resource limit [cpu usage > 80.0%]", "total cpu usage", 120.5, "%", ">", 80 },
	{ "cpu user usage of 9.1% matches resource limit [cpu user usage >= 1.0%]", "cpu user usage", 9.1, "%", ">=", 1 },
	{ "cpu system usage of 30.8% matches resource limit [cpu system usage > 30.0%]", "cpu system usage", 30.8, "%", ">", 30 },
	{ "cpu I/O wait of 30.8% matches resource limit [cpu I/O wait > 30.0%]", "cpu I/O wait", 30.8, "%", ">", 30 },
	{ "cpu nice usage of 1.0% matches resource limit [cpu nice usage > 0.5%]", "cpu nice usage", 1, "%", ">", 0.5 },
	{ "cpu hardware IRQ usage of 1.0% matches resource limit [cpu hardware IRQ usage > 0.5%]", "cpu hardware IRQ usage", 1, "%",
	    ">", 0.5 },
	{ "cpu software IRQ usage of 1.0% matches resource limit [cpu software IRQ usage > 0.5%]", "cpu software IRQ usage", 1, "%",
	    ">", 0.5 },
	{ "cpu steal usage of 1.0% matches resource limit [cpu steal usage > 0.5%]", "cpu steal usage", 1, "%", ">", 0.5 },
	{ "cpu guest usage of 1.0% matches resource limit [cpu guest usage > 0.5%]", "cpu guest usage", 1, "%", ">", 0.5 },
	{ "cpu guest nice usage of 1.0% matches resource limit [cpu guest nice usage > 0.5%]", "cpu guest nice usage", 1, "%",
	    ">", 0.5 },
	{ "mem usage of 81.4% matches resource limit [mem usage > 80.0%]", "mem usage", 81.4, "%", ">", 80 },
	{ "mem amount of 1.6 MB matches resource limit [mem amount > 1 kB]", "mem amount", 1677722, "B", ">", 1024 },
	{ "total mem amount of 1.6 MB matches resource limit [total mem amount > 1 kB]", "total mem amount", 1677722, "B", ">",
	    1024 },
	{ "total mem amount of 5.5% matches resource limit [total mem amount < 10.0%]", "total mem amount", 5.5, "%", "<", 10 },
	{ "swap usage of 1.5% matches resource limit [swap usage <= 10.0%]", "swap usage", 1.5, "%", "<=", 10 },
	{ "swap amount of 2 GB matches resource limit [swap amount > 1 GB]", "swap amount", 2147483648, "B", ">", 1073741824 },
	{ "loadavg (1min) of 1.4 matches resource limit [loadavg (1min) > 0.0]", "loadavg (1min)", 1.4, "", ">", 0 },
	{ "loadavg (5min) of 1.4 matches resource limit [loadavg (5min) > 0.0]", "loadavg (5min)", 1.4, "", ">", 0 },
	{ "loadavg (15min) of 1.4 matches resource limit [loadavg (15min) != 0.0]", "loadavg (15min)", 1.4, "", "!=", 0 },
	{ "loadavg per core (1min) of 1.4 matches resource limit [loadavg per core (1min) = 1.4]", "loadavg per core (1min)", 1.4,
	    "", "=", 1.4 },
	{ "loadavg per core (5min) of 1.4 matches resource limit [loadavg per core (5min) > 1.0]", "loadavg per core (5min)", 1.4,
	    "", ">", 1 },
	{ "loadavg per core (15min) of 1.4 matches resource limit [loadavg per core (15min) > 1.0]", "loadavg per core (15min)",
	    1.4, "", ">", 1 },
	{ "threads count 5 matches resource limit [threads > 3]", "threads count", 5, "", ">", 3 },
	{ "children count 0 matches resource limit [children < 1]", "children count", 0, "", "<", 1 },
	{ "read rate 1.5 kB/s matches resource limit [read > 1 kB/s]", "read rate", 1536, "B/s", ">", 1024 },
	{ "read rate 2.5 operations/s matches resource limit [read > 1 operations/s]", "read rate", 2.5, "", ">", 1 },
	{ "write rate 0 B/s matches resource limit [write < 1 MB/s]", "write rate", 0, "B/s", "<", 1048576 },
	{ "write rate 2.5 operations/s matches resource limit [write > 1 operations/s]", "write rate", 2.5, "", ">", 1 },
	{ "physical read activity 1 kB/s matches resource limit [read > 1 B/s]", "physical read activity", 1024, "B/s", ">", 1 },
	{ "physical write activity 1 kB/s matches resource limit [write > 1 B/s]", "physical write activity", 1024, "B/s", ">", 1 },
	{ "filedescriptors usage of 5 matches limit [filedescriptors > 3]", "filedescriptors usage", 5, "", ">", 3 },
	{ "filedescriptors usage of 5.0% matches limit [filedescriptors > 3.0%]", "filedescriptors usage", 5, "%", ">", 3 },
	{ "total  filedescriptors usage of 5 matches limit [filedescriptors > 3]", "total filedescriptors usage", 5, "", ">", 3 },

	/* Filesystem */
	{ "space usage 7.9% matches resource limit [space usage > 1.0%]", "space usage", 7.9, "%", ">", 1 },
	{ "space usage 3.7 MB matches resource limit [space usage > 1 MB]", "space usage", 3879731, "B", ">", 1048576 },
	{ "space free 1.2 GB matches resource limit [space free < 2 GB]", "space free", 1288490189, "B", "<", 2147483648 },
	{ "inode usage 2.9% matches resource limit [inode usage > 1.0%]", "inode usage", 2.9, "%", ">", 1 },
	{ "inode usage 481000 matches resource limit [inode usage > 1]", "inode usage", 481000, "", ">", 1 },
	{ "inode free 16297000 matches resource limit [inode free > 1]", "inode free", 16297000, "", ">", 1 },
	{ "service time 0.027 ms/operation matches resource limit [service time > 0.001 ms/operation]", "service time", 0.027, "ms",
	    ">", 0.001 },
	{ "service time 1.500 s/operation matches resource limit [service time > 1 s/operation]", "service time", 1500, "ms", ">",
	    1000 },
	{ "service time 0.027ms/operation matches resource limit [service time > 300 ms/operation]", "service time", 0.027, "ms",
	    ">", 300 },

	/* Network */
	{ "link upload saturation of 90.5% matches limit [saturation > 90.0%]", "link upload saturation", 90.5, "%", ">", 90 },
	{ "link download saturation of 90.5% matches limit [saturation > 90.0%]", "link download saturation", 90.5, "%", ">", 90 },
	{ "link saturation of 90.5% matches limit [saturation > 90.0%]", "link saturation", 90.5, "%", ">", 90 },
	{ "upload 5.5 MB matches limit [upload rate > 1 MB in last 1 second]", "upload", 5767168, "B", ">", 1048576 },
	{ "total upload 5.5 MB matches limit [upload rate > 1 MB in last 5 minute]", "total upload", 5767168, "B", ">", 1048576 },
	{ "download 10 B matches limit [download rate > 1 B in last 1 second]", "download", 10, "B", ">", 1 },
	{ "total download 10 B matches limit [download rate > 1 B in last 1 hour]", "total download", 10, "B", ">", 1 },
	{ "upload packets 7 matches limit [upload packets > 1 in last 1 second]", "upload packets", 7, "", ">", 1 },
	{ "total upload packets 7 matches limit [upload packets > 1 in last 2 hour]", "total upload packets", 7, "", ">", 1 },
	{ "download packets 7 matches limit [download packets > 1 in last 1 second]", "download packets", 7, "", ">", 1 },
	{ "total download packets 7 matches limit [download packets > 1 in last 2 hour]", "total download packets", 7, "", ">", 1 },
	{ "3 upload errors detected", "upload errors", 3, "", NULL, 0 },
	{ "12 download errors detected", "download errors", 12, "", NULL, 0 },
	{ "link speed changed to 100 Mb/s", "link speed", 12500000, "B/s", NULL, 0 },
	{ "link speed has not changed since last cycle [current speed = 1000 Mb/s]", "current speed", 125000000, "B/s", NULL, 0 },

	/* Response times and certificates */
	{ "response time 2.712 ms doesn't match limit [time < 1 ms]", "response time", 2.712, "ms", "<", 1 },
	{ "response time 1.234 s doesn't match limit [time < 500 ms]", "response time", 1234, "ms", "<", 500 },
	{ "response time 2.712 ms succeeded [time < 1 s]", "response time", 2.712, "ms", "<", 1000 },
	{ "ping test succeeded [response time 0.020 ms]", "response time", 0.02, "ms", NULL, 0 },
	{ "ping test succeeded [response time 0.001s]", "response time", 1, "ms", NULL, 0 },
	{ "certificate expiry in 20 days matches check limit [valid > 30 days]", "certificate expiry", 1728000000, "ms", ">",
	    2592000000 },
	{ "certificate valid days test succeeded [valid for 89 days]", "valid", 7689600000, "ms", NULL, 0 },

	/* File, directory, uptime */
	{ "size test failed for /srv/lab/a -- current size is 214 B", "current size", 214, "B", NULL, 0 },
	{ "size test failed for /a -- current size is 9 B -- current size is 214 B", "current size", 214, "B", NULL, 0 },
	{ "size check succeeded [current size = 6 B]", "current size", 6, "B", NULL, 0 },
	{ "size has not changed [current size = 6.8 kB]", "current size", 6963, "B", NULL, 0 },
	{ "size for /srv/lab/a changed to 22.0 MB", "size", 23068672, "B", NULL, 0 },
	{ "size for /a changed to 1 B changed to 2 B", "size", 2, "B", NULL, 0 },
	{ "hardlink test failed for /a -- current hardlink is 2", "current hardlink", 2, "", NULL, 0 },
	{ "hardlink check succeeded [current hardlink = 2]", "current hardlink", 2, "", NULL, 0 },
	{ "hardlink has not changed [current hardlink = 2]", "current hardlink", 2, "", NULL, 0 },
	{ "hardlink for /a changed to 3", "hardlink", 3, "", NULL, 0 },
	{ "uptime test failed for 3 d -- current uptime is 1.500 h", "current uptime", 5400000, "ms", NULL, 0 },
	{ "uptime test succeeded [current uptime = 1 m]", "current uptime", 60000, "ms", NULL, 0 },
	{ "uptime test failed for /run/x.pid -- current uptime is 100 seconds", "current uptime", 100000, "ms", NULL, 0 },
	{ "uptime test succeeded [current uptime = 1 y]", "current uptime", 31536000000, "ms", NULL, 0 },

	/* Recoveries */
	{ "cpu usage check succeeded [current cpu usage = 1.0%]", "current cpu usage", 1, "%", NULL, 0 },
	{ "total cpu usage check succeeded [current cpu usage = 1.0%]", "current cpu usage", 1, "%", NULL, 0 },
	{ "mem amount check succeeded [current mem amount = 1.5 kB]", "current mem amount", 1536, "B", NULL, 0 },
	{ "loadavg (5min) check succeeded [current loadavg (5min) = 0.2]", "current loadavg (5min)", 0.2, "", NULL, 0 },
	{ "threads check succeeded [current threads = 3]", "current threads", 3, "", NULL, 0 },
	{ "children check succeeded [current children = 3]", "current children", 3, "", NULL, 0 },
	{ "read rate test succeeded [current read = 1 kB/s]", "current read", 1024, "B/s", NULL, 0 },
	{ "write rate test succeeded [current write = 1.5 operations/s]", "current write", 1.5, "", NULL, 0 },
	{ "physical read activity test succeeded [current read = 0 B/s]", "current read", 0, "B/s", NULL, 0 },
	{ "filedescriptors test succeeded [current filedescriptors usage = 7]", "current filedescriptors usage", 7, "", NULL, 0 },
	{ "filedescriptors usage test succeeded [current filedescriptors usage = 0.7%]", "current filedescriptors usage", 0.7, "%",
	    NULL, 0 },
	{ "total filedescriptors usage test succeeded [current filedescriptors usage = 7]", "current filedescriptors usage", 7, "",
	    NULL, 0 },
	{ "space usage test succeeded [current space usage = 7.9%]", "current space usage", 7.9, "%", NULL, 0 },
	{ "inode free test succeeded [current inode free = 97.1%]", "current inode free", 97.1, "%", NULL, 0 },
	{ "service time test succeeded [current service time = 0.067 ms/operation]", "current service time", 0.067, "ms", NULL, 0 },
	{ "service time test succeeded [current service time = 0.067 ms/operations]", "current service time", 0.067, "ms",
	    NULL, 0 },
	{ "link upload saturation check succeeded [current upload saturation 0.1%]", "current upload saturation", 0.1, "%", NULL,
	    0 },
	{ "link saturation check succeeded [current saturation 0.1%]", "current saturation", 0.1, "%", NULL, 0 },
	{ "total upload check succeeded [current upload rate 1 kB in last 5 minute]", "current upload rate", 1024, "B", NULL, 0 },
	{ "download packets check succeeded [current download packets 3 in last 1 second]", "current download packets", 3, "",
	    NULL, 0 },

	/* Older versions: no blanks around the operator, kilobytes without one, the service in front of a recovery */
	{ "mem usage of 70.8% matches resource limit [mem usage<20.0%]", "mem usage", 70.8, "%", "<", 20 },
	{ "total mem amount of 525748kB matches resource limit [total mem amount>524288kB]", "total mem amount", 538365952, "B",
	    ">", 536870912 },
	{ "loadavg(1min) of 10.7 matches resource limit [loadavg(1min) >=6.0]", "loadavg(1min)", 10.7, "", ">=", 6 },
	{ "cpu wait usage of 30.8% matches resource limit [cpu wait usage>30.0%]", "cpu wait usage", 30.8, "%", ">", 30 },
	{ "children of 5 matches resource limit [children>3]", "children", 5, "", ">", 3 },
	{ "space usage 1234 blocks matches resource limit [space usage>1000 blocks]", "space usage", 1234, "", ">", 1000 },
	{ "'vm' cpu usage check succeeded [current cpu usage=1.0%]", "current cpu usage", 1, "%", NULL, 0 },
	{ "uptime test succeeded [current uptime=100 seconds]", "current uptime", 100000, "ms", NULL, 0 },
	{ "size check succeeded [current size=6.0 B]", "current size", 6, "B", NULL, 0 },

	/* What no version has yet, in sentences that all have */
	{ "disk usage of 99.7% matches resource limit [disk usage > 80.0%]", "disk usage", 99.7, "%", ">", 80 },
	{ "latency (5min) 1.5 ms matches limit [latency (5min) >= 1 s]", "latency (5min)", 1.5, "ms", ">=", 1000 },
	{ "receive rate 1.2 MB/s matches limit [receive rate != 1 MB/s in last 5 minute]", "receive rate", 1258291, "B/s", "!=",
	    1048576 },
	{ "sockets of 7 matches resource limit [sockets = 7]", "sockets", 7, "", "=", 7 },
	{ "disk usage check succeeded [current disk usage = 79.0%]", "current disk usage", 79, "%", NULL, 0 },
	{ "sockets succeeded [current sockets = 3]", "current sockets", 3, "", NULL, 0 },
};

/* What has no measurement, or must not be believed to have one. */
static const char *const without[] = {
	"",
	" ",
	"'",
	"''",
	"'vm' ",
	"status failed (3) -- on-stderr\nline one",
	"status failed (1) -- cpu usage of 99% matches resource limit [cpu usage > 1%]",
	"status succeeded (0) -- size check succeeded [current size = 6 B]",
	"status failed (1) -- x\ncpu usage of 99% matches resource limit [cpu usage > 1%]",
	"content match:\ncpu usage of 99% matches resource limit [cpu usage > 1%]\n",
	"content match on program output:\n12 download errors detected",
	"failed to execute '/x' -- current size is 6 B",
	"checksum changed to 4a8f09f5cc5d456f23ab27a8447b66e3f4955123",
	"process is not running",
	"process is running with pid 5",
	"process PID changed from 5 to 6",
	"permission test failed for /srv/lab/a [current permission 0644]",
	"uid test failed for x -- current uid is 1000",
	"link down",
	"link up",
	"upload errors check succeeded",
	"ping test failed -- x",
	"connection succeeded to [localhost]:80 [TCP/IP]",
	"failed protocol test [DEFAULT] at [127.0.0.1]:1 [TCP/IP] -- Connection refused",
	"service restarted 3 times within 5 cycles(s) - alert",
	"modification time for /a failed -- current modification time is Sun, 22 Nov 2026 14:58:25",
	/* Nearly a form */
	"cpu usage of 99.7% matches resource limit [cpu usage > 80.0%] ...",
	"cpu usage of 99.7% matches resource limit [cpu usage > 80.0%",
	"cpu usage of 99.7% matches resource limit [mem usage > 80.0%]",
	"cpu usage of 99.7% matches resource limit [cpu usage <> 80.0%]",
	"cpu usage of 99.7% matches resource limit [cpu usage 80.0%]",
	"cpu usage of 99.7% matches resource limit [cpu usage > 80 kB]",
	"cpu usage of 9.9.7% matches resource limit [cpu usage > 80.0%]",
	"cpu usage of nan% matches resource limit [cpu usage > 80.0%]",
	"cpu usage of % matches resource limit [cpu usage > 80.0%]",
	"cpu usage of 99.7parsecs matches resource limit [cpu usage > 80.0%]",
	"cpu usage of 1234567890123456% matches resource limit [cpu usage > 80.0%]",
	"disk usage of 99.7% matches resource limit [disc usage > 80.0%]",
	"disk usage of 99.7% matches resource limit [disk usage > 80 kB]",
	"disk usage of 99.7% matches resource limit [disk usage > 80.0%] and more",
	"disk\nusage of 99.7% matches resource limit [disk\nusage > 80.0%]",
	"x -- disk usage of 99.7% matches resource limit [x -- disk usage > 80.0%]",
	"disk usage check succeeded [current disc usage = 79.0%]",
	" of 7 matches resource limit [ > 6]",
	"size test failed for /srv/lab/a -- current size is 214 B and more",
	"size test failed for /srv/lab/a -- current size is ",
	"size for ",
	"12 errors detected",
};

static void
forms_of_monit_are_measured(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_measurement got;
		const char *at = rows[i].description;

		memset(&got, 0x5a, sizeof(got));
		if (!px_measure(px_slice(at), &got))
			fail_msg("no measurement in '%s'", at);
		if (strcmp(got.name, rows[i].name) != 0)
			fail_msg("name '%s' in '%s'", got.name, at);
		if (fabs(got.value - rows[i].value) > 1e-9)
			fail_msg("value %.17g in '%s'", got.value, at);
		if (strcmp(got.unit != NULL ? got.unit : "", rows[i].unit) != 0)
			fail_msg("unit '%s' in '%s'", got.unit != NULL ? got.unit : "", at);
		if ((got.operator == NULL) != (rows[i].operator == NULL) ||
		    (got.operator != NULL && strcmp(got.operator, rows[i].operator) != 0))
			fail_msg("operator '%s' in '%s'", got.operator != NULL ? got.operator : "", at);
		if (got.operator != NULL && fabs(got.limit - rows[i].limit) > 1e-9)
			fail_msg("limit %.17g in '%s'", got.limit, at);
	}
}

static void
nothing_else_is_measured(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(without); i++) {
		struct px_measurement got;

		if (px_measure(px_slice(without[i]), &got))
			fail_msg("'%s' of '%s'", got.name, without[i]);
	}
}

/* Every start of a form, and every form with a byte more, is no form, save where a number or a unit may end sooner. */
static void
forms_are_matched_from_start_to_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_measurement got;
		char longer[256];
		size_t len = strlen(rows[i].description);

		(void)snprintf(longer, sizeof(longer), "%s!", rows[i].description);
		if (px_measure(px_slice(longer), &got))
			fail_msg("'%s'", longer);
		(void)snprintf(longer, sizeof(longer), "x%s", rows[i].description);
		if (px_measure(px_slice(longer), &got))
			fail_msg("'%s'", longer);
		if (rows[i].description[len - 1] != ']')
			continue;
		for (size_t part = 0; part < len; part++)
			if (px_measure((struct px_slice){ rows[i].description, part }, &got))
				fail_msg("the first %zu bytes of '%s'", part, rows[i].description);
	}
}

/* Seconds and kilobytes are not to come out as 1233.9999999999998. */
static void
values_are_written_as_a_person_would(void **state)
{
	(void)state;
	for (int thousandths = 1; thousandths < 60000; thousandths += 7) {
		struct px_measurement got;
		struct px_buf json = PX_BUF(100);
		char text[100];
		char wanted[20];

		(void)snprintf(text, sizeof(text), "ping test succeeded [response time %d.%03d s]", thousandths / 1000,
		    thousandths % 1000);
		(void)snprintf(wanted, sizeof(wanted), "%d", thousandths);
		assert_true(px_measure(px_slice(text), &got));
		px_json_double(&json, NULL, got.value);
		assert_string_equal(px_buf_text(&json), wanted);
		px_buf_clear(&json);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_of_monit_are_measured),
		cmocka_unit_test(nothing_else_is_measured),
		cmocka_unit_test(forms_are_matched_from_start_to_end),
		cmocka_unit_test(values_are_written_as_a_person_would),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
