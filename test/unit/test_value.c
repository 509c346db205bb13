/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monit.h"
#include "value.h"

#ifndef PX_FIXTURES
#define PX_FIXTURES "test/fixtures"
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int
utc(int64_t utc_s)
{
	(void)utc_s;
	return 0;
}

/* Two hours east in summer 2019, one hour in winter. */
static int
berlin_2019(int64_t utc_s)
{
	return utc_s >= INT64_C(1553994000) && utc_s < INT64_C(1572138000) ? 7200 : 3600;
}

struct row {
	const char *label;
	const char *text;
	const char *json;
};

static void
check_rows(const struct row *rows, size_t count, px_offset_fn *offset)
{
	for (size_t i = 0; i < count; i++) {
		struct px_buf out = PX_BUF(1 << 22);

		px_value_write(&out, px_slice(rows[i].label), px_slice(rows[i].text), offset);
		if (strcmp(px_buf_text(&out), rows[i].json) != 0)
			fail_msg("%s '%s' is %s, not %s", rows[i].label, rows[i].text, px_buf_text(&out), rows[i].json);
		px_buf_clear(&out);
	}
}

/* Every form that px-status(7) names, and the neighbours that are none. */
static const struct row form_rows[] = {
	{ "x", "-", "null" },
	{ "x", "N/A", "null" },
	{ "x", "N/A for this link type", "null" },
	{ "x", "N/A for", "\"N/A for\"" },
	{ "x", "--", "\"--\"" },

	{ "x", "20", "20" },
	{ "x", "0.5", "0.5" },
	{ "x", "0", "0" },
	{ "x", "-1", "-1" },
	{ "x", "-1.0", "-1" },
	{ "x", "-0", "0" },
	{ "x", "-0.0", "-0" },
	{ "x", "-01", "\"-01\"" },
	{ "x", "00", "\"00\"" },
	{ "x", "0644", "\"0644\"" },
	{ "x", "00.5", "\"00.5\"" },
	{ "x", "0.10", "0.1" },
	{ "x", "20 ", "20" },
	{ "x", "20\t", "\"20\\t\"" },
	{ "x", "- ", "null" },
	{ "x", " ", "\" \"" },
	{ "x", "    ", "\"    \"" },
	{ "x", "123456789012345.678901234567890123456789", "123456789012345.67" },
	{ "x", "1,5", "\"1,5\"" },
	{ "x", "inf", "\"inf\"" },
	{ "x", "\xd9\xa1", "\"\xd9\xa1\"" },
	{ "x", "123456789012345", "123456789012345" },
	{ "x", "1234567890123456", "\"1234567890123456\"" },
	{ "x", "020", "\"020\"" },
	{ "x", "1.", "\"1.\"" },
	{ "x", ".5", "\".5\"" },
	{ "x", "+1", "\"+1\"" },
	{ "x", "1e3", "\"1e3\"" },
	{ "x", "1 2", "\"1 2\"" },
	{ "x", "0x1000", "\"0x1000\"" },
	{ "x", "-", "null" },
	{ "x", "", "\"\"" },
	{ "x", "nan", "\"nan\"" },

	{ "x", "1.8%", "{\"percent\":1.8}" },
	{ "x", "0.0%", "{\"percent\":0}" },
	{ "x", "-1.0%", "{\"percent\":-1}" },
	{ "x", "1.8 %", "\"1.8 %\"" },
	{ "x", "100%", "{\"percent\":100}" },
	{ "x", "nan%", "\"nan%\"" },
	{ "x", "inf%", "\"inf%\"" },
	{ "x", "%", "\"%\"" },
	{ "x", "1.8%%", "\"1.8%%\"" },

	{ "x", "3.7 MB", "{\"bytes\":3879731}" },
	{ "x", "3.7MB", "{\"bytes\":3879731}" },
	{ "x", "3.7  MB", "{\"bytes\":3879731}" },
	{ "x", "3.7   MB", "\"3.7   MB\"" },
	{ "x", "0 B", "{\"bytes\":0}" },
	{ "x", "0.0 B", "{\"bytes\":0}" },
	{ "x", "0 kB", "{\"bytes\":0}" },
	{ "x", "1 kB", "{\"bytes\":1024}" },
	{ "x", "-4 kB", "{\"bytes\":-4096}" },
	{ "x", "-0.5 B", "{\"bytes\":-1}" },
	{ "x", "0.4 B", "{\"bytes\":0}" },
	{ "x", "0.5 B", "{\"bytes\":1}" },
	{ "x", "1 GB", "{\"bytes\":1073741824}" },
	{ "x", "1 TB", "{\"bytes\":1099511627776}" },
	{ "x", "1 PB", "{\"bytes\":1125899906842624}" },
	{ "x", "1 EB", "{\"bytes\":1152921504606846976}" },
	{ "x", "7.9 EB", "{\"bytes\":9108079886394091520}" },
	{ "x", "8 EB", "{\"bytes\":9223372036854775808}" },
	{ "x", "1 ZB", "{\"bytes\":1180591620717411303424}" },
	{ "x", "-1 ZB", "{\"bytes\":-1180591620717411303424}" },
	{ "x", "1 ZB/s [2 ZB total]",
	    "{\"bytes_per_second\":1180591620717411303424,\"total_bytes\":2361183241434822606848}" },
	{ "x", "1 ZB [45.6%]", "{\"bytes\":1180591620717411303424,\"percent\":45.6}" },
	{ "x", "1234567890123456 B", "\"1234567890123456 B\"" },
	{ "x", "007 B", "\"007 B\"" },
	{ "x", "1 YB", "\"1 YB\"" },
	{ "x", "1 KB", "\"1 KB\"" },
	{ "x", "1 mb", "\"1 mb\"" },
	{ "x", "MB", "\"MB\"" },

	{ "x", "34.4 kB/s", "{\"bytes_per_second\":35226}" },
	{ "x", "34.4 kB/s [4.0 GB total]", "{\"bytes_per_second\":35226,\"total_bytes\":4294967296}" },
	{ "x", "2.1 kB/s (0.0% link saturation)", "{\"bytes_per_second\":2150,\"saturation_percent\":0}" },
	{ "x", "2.1 kB/s (0.0%)", "\"2.1 kB/s (0.0%)\"" },

	{ "x", "1000 Mb/s full-duplex", "{\"megabits_per_second\":1000,\"duplex\":\"full\"}" },
	{ "x", "10 Mb/s half-duplex", "{\"megabits_per_second\":10,\"duplex\":\"half\"}" },

	{ "x", "7.3 reads/s [137317 reads total]", "{\"per_second\":7.3,\"total\":137317}" },
	{ "x", "3682.7 writes/s [593582 writes total]", "{\"per_second\":3682.7,\"total\":593582}" },
	{ "x", "7.3 reads/s [137317 writes total]", "\"7.3 reads/s [137317 writes total]\"" },
	{ "x", "0 per second", "{\"per_second\":0}" },

	{ "x", "1.3 GB [45.6%]", "{\"bytes\":1395864371,\"percent\":45.6}" },
	{ "x", "1.3GB[45.6%]", "{\"bytes\":1395864371,\"percent\":45.6}" },
	{ "x", "0.1% [22.1 MB]", "{\"percent\":0.1,\"bytes\":23173530}" },

	{ "x", "16294764 [97.1%]", "{\"value\":16294764,\"percent\":97.1}" },
	{ "x", "1475 [0.1% of 2466177 limit]", "{\"value\":1475,\"percent\":0.1,\"limit\":2466177}" },
	/* What systemd sets where there is to be no limit: more digits than a number has. */
	{ "x", "969 [0.0% of 9223372036854775807 limit]", "\"969 [0.0% of 9223372036854775807 limit]\"" },

	{ "x", "252.0 GB (of which 62.0% is reserved for root user)", "{\"bytes\":270582939648,\"reserved_percent\":62}" },
	{ "x", "[2.39] [2.78] [1.75]", "[2.39,2.78,1.75]" },
	{ "x", "[2.39][2.78]  [1.75]", "[2.39,2.78,1.75]" },
	{ "x", "[2.39] [2.78]", "\"[2.39] [2.78]\"" },

	{ "cpu", "6.2%us 1.0%sy 0.9%wa", "{\"user_percent\":6.2,\"system_percent\":1,\"iowait_percent\":0.9}" },
	{ "cpu", "0.1%us 0.2%sy", "{\"user_percent\":0.1,\"system_percent\":0.2}" },
	{ "cpu", "20.5%usr 21.6%sys 0.0%nice 6.7%iowait 0.1%hardirq 0.2%softirq 0.3%steal 0.4%guest 0.5%guestnice ",
	    "{\"user_percent\":20.5,\"system_percent\":21.6,\"nice_percent\":0,\"iowait_percent\":6.7,\"hardirq_percent\":0.1,"
	    "\"softirq_percent\":0.2,\"steal_percent\":0.3,\"guest_percent\":0.4,\"guestnice_percent\":0.5}" },
	{ "cpu", "1.0%us 2.0%usr", "\"1.0%us 2.0%usr\"" },
	{ "cpu", "1.0%us,2.0%sy", "\"1.0%us,2.0%sy\"" },

	{ "x", "2h 34m", "{\"seconds\":9240}" },
	{ "x", "3d 4h 5m", "{\"seconds\":273900}" },
	{ "x", "0m", "{\"seconds\":0}" },
	{ "x", "8m ", "{\"seconds\":480}" },
	{ "x", "16h 0m ", "{\"seconds\":57600}" },
	{ "x", "2h34m", "{\"seconds\":9240}" },
	{ "x", "5 m", "\"5 m\"" },
	{ "x", "3d 5m", "{\"seconds\":259500}" },
	{ "x", "365d 0h 0m", "{\"seconds\":31536000}" },
	{ "x", "0d 0h 90m", "{\"seconds\":5400}" },
	{ "x", "07m", "\"07m\"" },
	{ "x", "2h 34m 5s", "\"2h 34m 5s\"" },
	{ "x", "2h", "\"2h\"" },
	{ "x", "5m 2h", "\"5m 2h\"" },
	{ "x", "-5m", "\"-5m\"" },
	{ "x", "1.5m", "\"1.5m\"" },
	{ "x", "999999999999999d 0h 0m", "\"999999999999999d 0h 0m\"" },

	{ "x", "Sat, 13 Apr 2019 11:24:17", "\"2019-04-13T11:24:17Z\"" },
	{ "x", "Sat Apr 13 11:24:17 2019", "\"2019-04-13T11:24:17Z\"" },
	{ "x", "Tue Apr  2 11:24:17 2019", "\"2019-04-02T11:24:17Z\"" },
	{ "x", "Sat, 29 Feb 2020 00:00:00", "\"2020-02-29T00:00:00Z\"" },
	{ "x", "Fri, 29 Feb 2019 00:00:00", "\"Fri, 29 Feb 2019 00:00:00\"" },
	{ "x", "Sat, 13 Apr 2019 24:00:00", "\"Sat, 13 Apr 2019 24:00:00\"" },
	{ "x", "Sat, 00 Apr 2019 11:24:17", "\"Sat, 00 Apr 2019 11:24:17\"" },
	{ "x", "Sat, 13 Foo 2019 11:24:17", "\"Sat, 13 Foo 2019 11:24:17\"" },
	{ "x", "Sat, 13 Apr 2019 11:24:17 +0000", "\"Sat, 13 Apr 2019 11:24:17 +0000\"" },
	{ "x", "Sat, 13 Apr 2019", "\"Sat, 13 Apr 2019\"" },
	{ "x", "Sat, 13 Apr 2019 11:24", "\"Sat, 13 Apr 2019 11:24\"" },
	{ "x", "Sat Apr 13 11:24:17 UTC 2019", "\"Sat Apr 13 11:24:17 UTC 2019\"" },
	{ "x", "sat, 13 apr 2019 11:24:17", "\"sat, 13 apr 2019 11:24:17\"" },
	{ "x", "Samstag, 13 Apr 2019 11:24:17", "\"Samstag, 13 Apr 2019 11:24:17\"" },
	{ "x", "13 Apr 2019 11:24:17", "\"13 Apr 2019 11:24:17\"" },
	{ "x", "Thu, 01 Jan 1970 00:00:00", "\"1970-01-01T00:00:00Z\"" },
	{ "x", "Fri, 31 Dec 9999 23:59:59", "\"9999-12-31T23:59:59Z\"" },
	{ "x", "Sat, 01 Jan 0000 00:00:00", "\"0000-01-01T00:00:00Z\"" },
	{ "x", "Sat, 01 Jan 10000 00:00:00", "\"Sat, 01 Jan 10000 00:00:00\"" },
	{ "x", "Sat, 01 Jan 999 00:00:00", "\"Sat, 01 Jan 999 00:00:00\"" },

	{ "x", "0.027 ms", "{\"milliseconds\":0.027}" },
	{ "x", "55.350 ms", "{\"milliseconds\":55.35}" },
	{ "x", "1.234 s", "{\"milliseconds\":1234}" },
	{ "x", "1.001 s", "{\"milliseconds\":1001}" },
	{ "x", "2 s", "{\"milliseconds\":2000}" },
	{ "x", "0.001s", "{\"milliseconds\":1}" },
	{ "x", "1.500 m", "\"1.500 m\"" },
	{ "x", "1.500 h", "\"1.500 h\"" },
	{ "x", "1.500 d", "\"1.500 d\"" },
	{ "x", "5 us", "\"5 us\"" },
	{ "x", "5 seconds", "\"5 seconds\"" },
	{ "x", "connection failed", "\"connection failed\"" },

	{ "x", "1.216 ms to localhost:18080 type TCP/IP protocol HTTP",
	    "{\"milliseconds\":1.216,\"target\":\"localhost:18080\",\"type\":\"TCP/IP\",\"protocol\":\"HTTP\"}" },
	{ "x", "0.791 ms to 127.0.0.1:18080 type TCP/IP  protocol HTTP",
	    "{\"milliseconds\":0.791,\"target\":\"127.0.0.1:18080\",\"type\":\"TCP/IP\",\"protocol\":\"HTTP\"}" },
	{ "x", "1 ms to h:80/a [b] type c protocol d type TCP/IP protocol HTTP",
	    "{\"milliseconds\":1,\"target\":\"h:80/a [b] type c protocol d\",\"type\":\"TCP/IP\",\"protocol\":\"HTTP\"}" },
	{ "x", "49.375 ms to h:443 type TCP/IP using TLS (certificate valid for 89 days) protocol HTTP",
	    "{\"milliseconds\":49.375,\"target\":\"h:443\",\"type\":\"TCP/IP\",\"tls\":true,\"certificate_days\":89,"
	    "\"protocol\":\"HTTP\"}" },
	{ "x", "1.216 ms to localhost:18080 type TCP/IP protocol", "\"1.216 ms to localhost:18080 type TCP/IP protocol\"" },
	{ "x", "1.216 ms to h:1 type TCP/IP protocol A B", "\"1.216 ms to h:1 type TCP/IP protocol A B\"" },
	{ "x", "1 ms to h:443 type TCP/IP using TLS (certificate valid for -3 days) protocol HTTP",
	    "{\"milliseconds\":1,\"target\":\"h:443\",\"type\":\"TCP/IP\",\"tls\":true,\"certificate_days\":-3,"
	    "\"protocol\":\"HTTP\"}" },
	{ "x", "1 ms to h:443 type TCP/IP using TLS protocol HTTP", "\"1 ms to h:443 type TCP/IP using TLS protocol HTTP\"" },
	{ "x", "0.032 ms to /run/u.sock type TCP protocol DEFAULT",
	    "{\"milliseconds\":0.032,\"target\":\"/run/u.sock\",\"type\":\"TCP\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "1.2 s to [::1]:53 type UDP/IP protocol DNS",
	    "{\"milliseconds\":1200,\"target\":\"[::1]:53\",\"type\":\"UDP/IP\",\"protocol\":\"DNS\"}" },
	{ "x", "1.2 m to h:53 type UDP/IP protocol DNS", "\"1.2 m to h:53 type UDP/IP protocol DNS\"" },
	{ "x", "1.2 ms to type TCP protocol HTTP", "\"1.2 ms to type TCP protocol HTTP\"" },

	{ "x", "FAILED to [localhost]:18081 type TCP/IP protocol DEFAULT",
	    "{\"failed\":true,\"target\":\"[localhost]:18081\",\"type\":\"TCP/IP\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "FAILED to [localhost]:18081/uri type TCP/IP using TLS protocol HTTP",
	    "{\"failed\":true,\"target\":\"[localhost]:18081/uri\",\"type\":\"TCP/IP\",\"tls\":true,\"protocol\":\"HTTP\"}" },
	{ "x", "FAILED to /run/a b [c].sock type TCP protocol DEFAULT",
	    "{\"failed\":true,\"target\":\"/run/a b [c].sock\",\"type\":\"TCP\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "FAILED to   h:1 type TCP/IP protocol X", "\"FAILED to   h:1 type TCP/IP protocol X\"" },
	{ "x", "FAILED to h:1   type TCP/IP protocol X", "\"FAILED to h:1   type TCP/IP protocol X\"" },
	{ "x", "FAILED to  type TCP/IP protocol X", "\"FAILED to  type TCP/IP protocol X\"" },
	{ "x", "FAILED", "\"FAILED\"" },
	{ "x", "failed to h:1 type TCP/IP protocol X", "\"failed to h:1 type TCP/IP protocol X\"" },
	{ "x", "FAILED to h:1 type TCP/IP using TLS (certificate valid for 8 days) protocol X",
	    "\"FAILED to h:1 type TCP/IP using TLS (certificate valid for 8 days) protocol X\"" },

	{ "x", "0.001s to localhost:18080 [HTTP via TCP]",
	    "{\"milliseconds\":1,\"target\":\"localhost:18080\",\"protocol\":\"HTTP\",\"type\":\"TCP\"}" },
	{ "x", "0.003s to /run/x.sock [DEFAULT]", "{\"milliseconds\":3,\"target\":\"/run/x.sock\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "0.003s to /run/x [y].sock [DEFAULT]",
	    "{\"milliseconds\":3,\"target\":\"/run/x [y].sock\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "0.000s [Ping]", "{\"milliseconds\":0,\"protocol\":\"Ping\"}" },

	{ "x", "0.027 ms/operation", "\"0.027 ms/operation\"" },
	{ "x", "0.027 ms/operation (of which read 0.000 ms, active 0.027 ms)",
	    "\"0.027 ms/operation (of which read 0.000 ms, active 0.027 ms)\"" },
	{ "x", "0.027 ms/operation (of which read 0.000 ms, write 0.027 ms)",
	    "{\"milliseconds\":0.027,\"read_milliseconds\":0,\"write_milliseconds\":0.027}" },
	{ "x", "0.352ms/operation (of which read 0.055ms, write 0.297ms)",
	    "{\"milliseconds\":0.352,\"read_milliseconds\":0.055,\"write_milliseconds\":0.297}" },
	{ "x", "0.3 ms/operation (of which queue 0.1 ms, active 0.2 ms)",
	    "{\"milliseconds\":0.3,\"queue_milliseconds\":0.1,\"active_milliseconds\":0.2}" },

	{ "x", "eff5bc1ef8ec9d03e640fc4370f5eacd (MD5)",
	    "{\"hash\":\"eff5bc1ef8ec9d03e640fc4370f5eacd\",\"algorithm\":\"MD5\"}" },
	{ "x", "eff5bc1ef8ec9d03e640fc4370f5eacd(MD5)",
	    "{\"hash\":\"eff5bc1ef8ec9d03e640fc4370f5eacd\",\"algorithm\":\"MD5\"}" },
	{ "x", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 (SHA256)",
	    "{\"hash\":\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\",\"algorithm\":\"SHA256\"}" },
	{ "x", "eff5bc1e... (MD5)", "{\"hash\":\"eff5bc1e...\",\"algorithm\":\"MD5\"}" },
	{ "x", "4a8f09f5cc5d456f23ab27a8447b66e3f4955123(SHA1)",
	    "{\"hash\":\"4a8f09f5cc5d456f23ab27a8447b66e3f4955123\",\"algorithm\":\"SHA1\"}" },
	{ "x", "(MD5)", "\"(MD5)\"" },
	{ "x", "eff5bc1e (MD5", "\"eff5bc1e (MD5\"" },
	{ "x", "somebody (MD55)", "\"somebody (MD55)\"" },
	{ "x", "somebody (root)", "\"somebody (root)\"" },

	{ "x", "0 errors", "{\"errors\":0}" },
	{ "x", "934 B/s [13 packets/s] [0 errors]", "{\"bytes_per_second\":934,\"packets_per_second\":13,\"errors\":0}" },
	{ "x", "66053021 [252.0 GB]", "{\"value\":66053021,\"bytes\":270582939648}" },
	{ "x", "19563508 [76420.0 MB] [29.6%]", "{\"value\":19563508,\"bytes\":80132177920,\"percent\":29.6}" },
	{ "x", "2.9 MB/s [9.4 GB total], 87.9 writes/s [705977 writes total]",
	    "{\"bytes_per_second\":3040870,\"total_bytes\":10093173146,\"per_second\":87.9,\"total\":705977}" },
	{ "x", "505.6 kB/s [4.2 GB total], 58.3 reads/s [148970 reads total]",
	    "{\"bytes_per_second\":517734,\"total_bytes\":4509715661,\"per_second\":58.3,\"total\":148970}" },

	/* What no form is. */
	{ "x", "active ", "\"active \"" },
	{ "x", "20\n30", "\"20\\n30\"" },
	{ "x", "\"quoted\"\t\xc3\xa9", "\"\\\"quoted\\\"\\t\xc3\xa9\"" },
	{ "x", " 20", "\" 20\"" },
	{ "x", "20      ", "20" },
	{ "x", "1.216 ms to localhost:18080 type TCP/IP protocol HTTP       ",
	    "{\"milliseconds\":1.216,\"target\":\"localhost:18080\",\"type\":\"TCP/IP\",\"protocol\":\"HTTP\"}" },
	{ "x", "word      ", "\"word      \"" },
	{ "x", "3.7 MB extra", "\"3.7 MB extra\"" },
};

/* Every form that has a blank. */
static const struct row blank_rows[] = {
	{ "x", "N/A for this link type", "null" },
	{ "x", "3.7 MB", "{\"bytes\":3879731}" },
	{ "x", "34.4 kB/s [4.0 GB total]", "{\"bytes_per_second\":35226,\"total_bytes\":4294967296}" },
	{ "x", "2.1 kB/s (0.0% link saturation)", "{\"bytes_per_second\":2150,\"saturation_percent\":0}" },
	{ "x", "1000 Mb/s full-duplex", "{\"megabits_per_second\":1000,\"duplex\":\"full\"}" },
	{ "x", "7.3 reads/s [137317 reads total]", "{\"per_second\":7.3,\"total\":137317}" },
	{ "x", "0 per second", "{\"per_second\":0}" },
	{ "x", "1.3 GB [45.6%]", "{\"bytes\":1395864371,\"percent\":45.6}" },
	{ "x", "0.1% [22.1 MB]", "{\"percent\":0.1,\"bytes\":23173530}" },
	{ "x", "16294764 [97.1%]", "{\"value\":16294764,\"percent\":97.1}" },
	{ "x", "1475 [0.1% of 2466177 limit]", "{\"value\":1475,\"percent\":0.1,\"limit\":2466177}" },
	{ "x", "252.0 GB (of which 62.0% is reserved for root user)", "{\"bytes\":270582939648,\"reserved_percent\":62}" },
	{ "x", "[2.39] [2.78] [1.75]", "[2.39,2.78,1.75]" },
	{ "x", "6.2%us 1.0%sy 0.9%wa", "{\"user_percent\":6.2,\"system_percent\":1,\"iowait_percent\":0.9}" },
	{ "x", "20.5%usr 21.6%sys 0.0%nice 6.7%iowait",
	    "{\"user_percent\":20.5,\"system_percent\":21.6,\"nice_percent\":0,\"iowait_percent\":6.7}" },
	{ "x", "2h 34m", "{\"seconds\":9240}" },
	{ "x", "3d 4h 5m", "{\"seconds\":273900}" },
	{ "x", "Sat, 13 Apr 2019 11:24:17", "\"2019-04-13T11:24:17Z\"" },
	{ "x", "Sat Apr 13 11:24:17 2019", "\"2019-04-13T11:24:17Z\"" },
	{ "x", "Tue Apr  2 11:24:17 2019", "\"2019-04-02T11:24:17Z\"" },
	{ "x", "0.027 ms", "{\"milliseconds\":0.027}" },
	{ "x", "1.234 s", "{\"milliseconds\":1234}" },
	{ "x", "1.216 ms to localhost:18080 type TCP/IP protocol HTTP",
	    "{\"milliseconds\":1.216,\"target\":\"localhost:18080\",\"type\":\"TCP/IP\",\"protocol\":\"HTTP\"}" },
	{ "x", "49.375 ms to h:443 type TCP/IP using TLS (certificate valid for 89 days) protocol HTTP",
	    "{\"milliseconds\":49.375,\"target\":\"h:443\",\"type\":\"TCP/IP\",\"tls\":true,\"certificate_days\":89,"
	    "\"protocol\":\"HTTP\"}" },
	{ "x", "FAILED to [localhost]:18081 type TCP/IP protocol DEFAULT",
	    "{\"failed\":true,\"target\":\"[localhost]:18081\",\"type\":\"TCP/IP\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "FAILED to [localhost]:18081 type TCP/IP using TLS protocol DEFAULT",
	    "{\"failed\":true,\"target\":\"[localhost]:18081\",\"type\":\"TCP/IP\",\"tls\":true,\"protocol\":\"DEFAULT\"}" },
	{ "x", "0.001s to localhost:18080 [HTTP via TCP]",
	    "{\"milliseconds\":1,\"target\":\"localhost:18080\",\"protocol\":\"HTTP\",\"type\":\"TCP\"}" },
	{ "x", "0.003s to /run/x.sock [DEFAULT]", "{\"milliseconds\":3,\"target\":\"/run/x.sock\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "0.000s [Ping]", "{\"milliseconds\":0,\"protocol\":\"Ping\"}" },
	{ "x", "0.027 ms/operation (of which read 0.000 ms, write 0.027 ms)",
	    "{\"milliseconds\":0.027,\"read_milliseconds\":0,\"write_milliseconds\":0.027}" },
	{ "x", "0.3 ms/operation (of which queue 0.1 ms, active 0.2 ms)",
	    "{\"milliseconds\":0.3,\"queue_milliseconds\":0.1,\"active_milliseconds\":0.2}" },
	{ "x", "eff5bc1e... (MD5)", "{\"hash\":\"eff5bc1e...\",\"algorithm\":\"MD5\"}" },
	{ "x", "0 errors", "{\"errors\":0}" },
	{ "x", "934 B/s [13 packets/s] [0 errors]", "{\"bytes_per_second\":934,\"packets_per_second\":13,\"errors\":0}" },
	{ "x", "66053021 [252.0 GB]", "{\"value\":66053021,\"bytes\":270582939648}" },
	{ "x", "19563508 [76420.0 MB] [29.6%]", "{\"value\":19563508,\"bytes\":80132177920,\"percent\":29.6}" },
	{ "x", "2.9 MB/s [9.4 GB total], 87.9 writes/s [705977 writes total]",
	    "{\"bytes_per_second\":3040870,\"total_bytes\":10093173146,\"per_second\":87.9,\"total\":705977}" },
};

/* Labels whose values are strings always. */
static const struct row string_rows[] = {
	{ "last output", "-", "null" },
	{ "last output", "20", "\"20\"" },
	{ "last output", "N/A", "\"N/A\"" },
	{ "last output", "-\n", "\"-\\n\"" },
	{ "Last Output", "20", "\"20\"" },
	{ "last_output", "20", "\"20\"" },
	{ "last outputs", "20", "20" },
	{ "permission", "644", "\"644\"" },
	{ "permission", "-", "null" },
	{ "security attribute", "-", "null" },
	{ "security attribute", "N/A", "\"N/A\"" },
	{ "content match", "no", "\"no\"" },
	{ "filesystem type", "0", "\"0\"" },
	{ "filesystem flags", "0x1000", "\"0x1000\"" },
	{ "filesystem flags", "20", "\"20\"" },
	{ "filesystem flag", "20", "20" },
};

/* Every value of every label that status-fields.tsv has, once: what it becomes, from status-values.tsv. */
#define VERSION_ROWS_MAX 256

static char version_text[32768];
static struct row version_rows[VERSION_ROWS_MAX];
static size_t version_row_count;

static void
read_fixture(char *text, size_t size, const char *name)
{
	char path[256];
	FILE *file;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/%s", PX_FIXTURES, name);
	file = fopen(path, "re");
	if (file == NULL)
		fail_msg("cannot open '%s'", path);
	len = fread(text, 1, size - 1, file);
	assert_int_equal(fclose(file), 0);
	assert_true(len > 0 && len < size - 1 && text[len - 1] == '\n');
	text[len] = '\0';
}

static int
read_version_rows(void **state)
{
	char *rest = version_text;
	char *line;

	(void)state;
	read_fixture(version_text, sizeof(version_text), "status-values.tsv");
	(void)strsep(&rest, "\n");
	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		struct row *row = &version_rows[version_row_count++];

		assert_true(version_row_count < VERSION_ROWS_MAX);
		row->label = strsep(&line, "\t");
		row->text = strsep(&line, "\t");
		row->json = line;
		assert_non_null(row->json);
	}
	return 0;
}

static bool
has_version_row(const char *label, const char *text)
{
	for (size_t i = 0; i < version_row_count; i++)
		if (strcmp(version_rows[i].label, label) == 0 && strcmp(version_rows[i].text, text) == 0)
			return true;
	return false;
}

static const struct row berlin_rows[] = {
	{ "boot time", "Sat, 13 Apr 2019 11:24:17", "\"2019-04-13T09:24:17Z\"" },
	{ "boot time", "Sat Apr 13 11:24:17 2019", "\"2019-04-13T09:24:17Z\"" },
	{ "boot time", "Sun, 27 Oct 2019 02:30:00", "\"2019-10-27T00:30:00Z\"" },	/* twice: the earlier */
	{ "boot time", "Sun, 31 Mar 2019 02:30:00", "\"2019-03-31T01:30:00Z\"" },	/* never: by the offset before */
	{ "boot time", "Sun, 31 Mar 2019 01:59:59", "\"2019-03-31T00:59:59Z\"" },
	{ "boot time", "Sun, 31 Mar 2019 03:00:00", "\"2019-03-31T01:00:00Z\"" },
	{ "boot time", "Sun, 27 Oct 2019 03:00:00", "\"2019-10-27T02:00:00Z\"" },
	{ "boot time", "Thu, 01 Jan 1970 00:00:00", "\"1969-12-31T23:00:00Z\"" },
	{ "boot time", "Sat, 01 Jan 0000 00:30:00", "\"Sat, 01 Jan 0000 00:30:00\"" },	/* a year before the first */
	{ "boot time", "Sun, 13 Jan 2019 11:24:17", "\"2019-01-13T10:24:17Z\"" },
};

static void
test_forms(void **state)
{
	(void)state;
	check_rows(form_rows, COUNT(form_rows), utc);
}

static void
test_strings(void **state)
{
	(void)state;
	check_rows(string_rows, COUNT(string_rows), utc);
}

static void
test_versions(void **state)
{
	(void)state;
	assert_true(version_row_count > 100);
	check_rows(version_rows, version_row_count, utc);
}

/* No label, and no value of a version, is without its row. "5.7: 8m  || 5.20.0: 7m" are a label's values. */
static void
test_every_field(void **state)
{
	static char fields[32768];
	char *rest = fields;
	char *line;
	size_t values = 0;

	(void)state;
	read_fixture(fields, sizeof(fields), "status-fields.tsv");
	(void)strsep(&rest, "\n");
	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		const char *type = strsep(&line, "\t");
		const char *label = strsep(&line, "\t");

		(void)strsep(&line, "\t");
		for (char *end; line != NULL; line = end, values++) {
			char *text = strstr(line, ": ");

			assert_non_null(text);
			end = strstr(line, " || ");
			if (end != NULL) {
				*end = '\0';
				end += strlen(" || ");
			}
			if (strcmp(label, "status") != 0 && !has_version_row(label, text + 2))
				fail_msg("%s, %s: '%s' has no row", type, label, text + 2);
		}
	}
	assert_true(values > 200);
}

/* In either version's columns the line is read as this label and this value, and the value becomes the same. */
static void
check_columns(const struct row *row, int width)
{
	struct px_buf text = PX_BUF(4096);
	struct px_buf out = PX_BUF(4096);
	struct px_monit_status status;
	struct px_err err;

	px_buf_printf(&text, "File 'f'\n  %-*s OK\n  %-*s %s\n\n", width, "status", width, row->label, row->text);
	assert_int_equal(px_monit_parse(&status, text.data, text.len, &err), 0);
	assert_int_equal(status.line_count, 1);
	if (!px_slice_is(status.lines[0].label, row->label) || !px_slice_is(status.lines[0].value, row->text))
		fail_msg("'%s' is not read from columns of %d", row->label, width);
	px_value_write(&out, status.lines[0].label, status.lines[0].value, utc);
	assert_string_equal(px_buf_text(&out), row->json);
	px_monit_clear(&status);
	px_buf_clear(&text);
	px_buf_clear(&out);
}

static void
test_columns(void **state)
{
	(void)state;
	for (size_t i = 0; i < version_row_count; i++) {
		check_columns(&version_rows[i], 28);
		check_columns(&version_rows[i], 33);
	}
	for (size_t i = 0; i < COUNT(form_rows); i++) {
		if (strchr(form_rows[i].text, '\n') != NULL)
			continue;
		check_columns(&form_rows[i], 28);
		check_columns(&form_rows[i], 33);
	}
}

static void
test_time_zone(void **state)
{
	(void)state;
	check_rows(berlin_rows, COUNT(berlin_rows), berlin_2019);
}

/* Not a string; "-" aside, which the strings have too. */
static bool
is_typed(const struct row *row)
{
	return strcmp(row->text, "-") != 0 && strncmp(row->json + 1, row->text, strlen(row->text)) != 0;
}

/* Every blank of ${row} that stands alone in its turn missing and doubled; and one more at the end. */
static void
check_blanks(const struct row *row)
{
	size_t len = strlen(row->text);

	for (size_t at = 0; at <= len; at++)
		for (int blanks = 0; blanks <= 2; blanks++) {
			struct px_buf text = PX_BUF(4096);

			if (at < len && (row->text[at] != ' ' || row->text[at - 1] == ' ' || row->text[at + 1] == ' '))
				break;
			px_buf_add(&text, row->text, at);
			for (int i = 0; i < blanks; i++)
				px_buf_add_byte(&text, ' ');
			if (at < len)
				px_buf_add_text(&text, row->text + at + 1);
			if (text.len < len + 2 || row->text[len - 1] != ' ')
				check_rows(&(struct row){ row->label, px_buf_text(&text), row->json }, 1, utc);
			px_buf_clear(&text);
		}
}

/* Each blank of ${row} replaced by ${instead}; two that stand together count as one. */
static void
check_all_blanks(const struct row *row, const char *instead)
{
	struct px_buf text = PX_BUF(4096);

	for (const char *at = row->text; *at != '\0'; at++)
		if (*at != ' ')
			px_buf_add_byte(&text, *at);
		else if (at[1] != ' ')
			px_buf_add_text(&text, instead);
	check_rows(&(struct row){ row->label, px_buf_text(&text), row->json }, 1, utc);
	px_buf_clear(&text);
}

/* A value that is typed stays the same value where a blank of it, or all of them, are missing or doubled. */
static void
test_blanks(void **state)
{
	(void)state;
	for (size_t i = 0; i < version_row_count + COUNT(blank_rows); i++) {
		const struct row *row = i < version_row_count ? &version_rows[i] : &blank_rows[i - version_row_count];

		if (!is_typed(row))
			continue;
		check_blanks(row);
		check_all_blanks(row, "");
		check_all_blanks(row, "  ");
	}
}

/* Bytes that are no form's, or many times a form's: the text comes back in the document, whatever its length. */
static void
test_long_values(void **state)
{
	static const char *const parts[] = { "typeprotocol", "[", "9", "FAILED to ", "1%us ", "-", " to [a via", "\x01", " type ",
		" protocol", "0 B [", "1d " };

	(void)state;
	for (size_t i = 0; i < COUNT(parts); i++) {
		struct px_buf text = PX_BUF(1 << 20);
		struct px_buf out = PX_BUF(1 << 23);

		px_buf_add_text(&text, "FAILED to ");
		while (text.len < (1 << 19))
			px_buf_add_text(&text, parts[i]);
		px_value_write(&out, px_slice("x"), (struct px_slice){ text.data, text.len }, utc);
		assert_false(out.failed);
		assert_true(out.len >= text.len);
		px_buf_clear(&text);
		px_buf_clear(&out);
	}
}

/* What is asked for may be long: a request's path, or the path of a socket. */
static void
test_long_targets(void **state)
{
	struct px_buf text = PX_BUF(1 << 21);
	struct px_buf target = PX_BUF(1 << 21);
	struct px_buf json = PX_BUF(1 << 21);

	(void)state;
	px_buf_add_text(&target, "localhost:80/");
	while (target.len < (1 << 20))
		px_buf_add_text(&target, "a type b protocol ");
	px_buf_add_text(&target, "c");
	px_buf_printf(&text, "49.375 ms to %s type TCP/IP using TLS (certificate valid for 89 days) protocol HTTP", target.data);
	px_buf_printf(&json, "{\"milliseconds\":49.375,\"target\":\"%s\",\"type\":\"TCP/IP\",\"tls\":true,"
	    "\"certificate_days\":89,\"protocol\":\"HTTP\"}", target.data);
	check_rows(&(struct row){ "port response time", text.data, json.data }, 1, utc);
	px_buf_clear(&text);
	px_buf_clear(&target);
	px_buf_clear(&json);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_time_zone),
		cmocka_unit_test(test_blanks),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_long_targets),
	};

	return cmocka_run_group_tests(tests, read_version_rows, NULL);
}
