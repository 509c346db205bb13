/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "value.h"

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
		struct px_buf out = PX_BUF(1 << 20);

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
	{ "x", "1 ZB", "{\"bytes\":1.1805916207174113e+21}" },
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

	{ "x", "0.027 ms", "{\"milliseconds\":0.027}" },
	{ "x", "55.350 ms", "{\"milliseconds\":55.35}" },
	{ "x", "1.234 s", "{\"milliseconds\":1234}" },
	{ "x", "1.001 s", "{\"milliseconds\":1001}" },
	{ "x", "2 s", "{\"milliseconds\":2000}" },
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
	{ "x", "1.2 ms to type TCP protocol HTTP", "\"1.2 ms to type TCP protocol HTTP\"" },

	{ "x", "FAILED to [localhost]:18081 type TCP/IP protocol DEFAULT",
	    "{\"failed\":true,\"target\":\"[localhost]:18081\",\"type\":\"TCP/IP\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "FAILED to [localhost]:18081/uri type TCP/IP using TLS protocol HTTP",
	    "{\"failed\":true,\"target\":\"[localhost]:18081/uri\",\"type\":\"TCP/IP\",\"tls\":true,\"protocol\":\"HTTP\"}" },
	{ "x", "FAILED to /run/a b [c].sock type TCP protocol DEFAULT",
	    "{\"failed\":true,\"target\":\"/run/a b [c].sock\",\"type\":\"TCP\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "FAILED", "\"FAILED\"" },

	{ "x", "0.001s to localhost:18080 [HTTP via TCP]",
	    "{\"milliseconds\":1,\"target\":\"localhost:18080\",\"protocol\":\"HTTP\",\"type\":\"TCP\"}" },
	{ "x", "0.003s to /run/x.sock [DEFAULT]", "{\"milliseconds\":3,\"target\":\"/run/x.sock\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "0.003s to /run/x [y].sock [DEFAULT]",
	    "{\"milliseconds\":3,\"target\":\"/run/x [y].sock\",\"protocol\":\"DEFAULT\"}" },
	{ "x", "0.000s [Ping]", "{\"milliseconds\":0,\"protocol\":\"Ping\"}" },

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
	{ "x", "3.7 MB extra", "\"3.7 MB extra\"" },
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

/* Every value of every label of `monit status`, Monit 5.2.5 to 5.35.2, once per form. */
static const struct row version_rows[] = {
	{ "monitoring status", "monitored", "\"monitored\"" },
	{ "monitoring status", "Not monitored", "\"Not monitored\"" },
	{ "monitoring mode", "active", "\"active\"" },
	{ "on reboot", "start", "\"start\"" },
	{ "permission", "755", "\"755\"" },
	{ "uid", "0", "0" },
	{ "timestamp", "Sun Nov 22 14:57:43 2026", "\"2026-11-22T14:57:43Z\"" },
	{ "timestamp", "Sun, 22 Nov 2026 14:57:43", "\"2026-11-22T14:57:43Z\"" },
	{ "access timestamp", "Sun, 22 Nov 2026 14:59:04", "\"2026-11-22T14:59:04Z\"" },
	{ "data collected", "Sun Nov 22 15:27:48 2026", "\"2026-11-22T15:27:48Z\"" },
	{ "last started", "Sun, 22 Nov 2026 15:27:57", "\"2026-11-22T15:27:57Z\"" },
	{ "boot time", "Sun, 22 Nov 2026 14:37:41", "\"2026-11-22T14:37:41Z\"" },
	{ "hardlink", "2", "2" },
	{ "size", "3 B", "{\"bytes\":3}" },
	{ "size", "3.0 B", "{\"bytes\":3}" },
	{ "content match", "no", "\"no\"" },
	{ "filesystem flags", "rw,relatime,discard,resv_strict,resuid=65534,resgid=65534",
	    "\"rw,relatime,discard,resv_strict,resuid=65534,resgid=65534\"" },
	{ "filesystem type", "ext4", "\"ext4\"" },
	{ "block size", "4096 B", "{\"bytes\":4096}" },
	{ "block size", "4.0 kB", "{\"bytes\":4096}" },
	{ "block size", "4 kB", "{\"bytes\":4096}" },
	{ "blocks total", "66053021 [258019.6 MB]", "{\"value\":66053021,\"bytes\":270553160090}" },
	{ "blocks total", "0 [0.0 MB]", "{\"value\":0,\"bytes\":0}" },
	{ "blocks free for non superuser", "19503776 [76186.6 MB] [29.5%]",
	    "{\"value\":19503776,\"bytes\":79887440282,\"percent\":29.5}" },
	{ "blocks free for non superuser", "19590138 [74.7 GB] [29.7%]",
	    "{\"value\":19590138,\"bytes\":80208514253,\"percent\":29.7}" },
	{ "inodes total", "16777216", "16777216" },
	{ "inodes free", "16294038 [97.1%]", "{\"value\":16294038,\"percent\":97.1}" },
	{ "space total", "0 MB (of which 0.0% is reserved for root user)", "{\"bytes\":0,\"reserved_percent\":0}" },
	{ "space free total", "231.1 GB [91.7%]", "{\"bytes\":248141735526,\"percent\":91.7}" },
	{ "service time", "0.026 ms/operation (of which read 0.000 ms, write 0.026 ms)",
	    "{\"milliseconds\":0.026,\"read_milliseconds\":0,\"write_milliseconds\":0.026}" },
	{ "read bytes", "0 B/s [3.9 GB total]", "{\"bytes_per_second\":0,\"total_bytes\":4187593114}" },
	{ "write bytes", "792.1 kB/s [9.4 GB total]", "{\"bytes_per_second\":811110,\"total_bytes\":10093173146}" },
	{ "write bytes", "10.8 MB/s [8.8 GB total]", "{\"bytes_per_second\":11324621,\"total_bytes\":9448928051}" },
	{ "write bytes", "197.3 B/s [2.6 MB total]", "{\"bytes_per_second\":197,\"total_bytes\":2726298}" },
	{ "disk read operations", "1.0 reads/s [140991 reads total]", "{\"per_second\":1,\"total\":140991}" },
	{ "disk write operations", "0.0 writes/s [328277 writes total]", "{\"per_second\":0,\"total\":328277}" },
	{ "link capacity", "N/A for this link type", "null" },
	{ "download", "934 B/s [13 packets/s] [0 errors]",
	    "{\"bytes_per_second\":934,\"packets_per_second\":13,\"errors\":0}" },
	{ "link", "0 errors", "{\"errors\":0}" },
	{ "capacity", "1000 Mb/s full-duplex", "{\"megabits_per_second\":1000,\"duplex\":\"full\"}" },
	{ "download bytes", "973 B/s", "{\"bytes_per_second\":973}" },
	{ "download bytes", "1.0 kB/s", "{\"bytes_per_second\":1024}" },
	{ "upload packets", "13 per second", "{\"per_second\":13}" },
	{ "pid", "5758", "5758" },
	{ "uptime", "30m ", "{\"seconds\":1800}" },
	{ "uptime", "7m", "{\"seconds\":420}" },
	{ "memory kilobytes", "1652", "1652" },
	{ "memory kilobytes", "1.6 MB", "{\"bytes\":1677722}" },
	{ "memory percent", "0.0%", "{\"percent\":0}" },
	{ "memory", "0.0% [1.6 MB]", "{\"percent\":0,\"bytes\":1677722}" },
	{ "unix socket response time", "0.000s to /srv/lab/status/none.sock [DEFAULT]",
	    "{\"milliseconds\":0,\"target\":\"/srv/lab/status/none.sock\",\"protocol\":\"DEFAULT\"}" },
	{ "unix socket response time", "FAILED to /srv/lab/status/none.sock type TCP protocol DEFAULT",
	    "{\"failed\":true,\"target\":\"/srv/lab/status/none.sock\",\"type\":\"TCP\",\"protocol\":\"DEFAULT\"}" },
	{ "port response time", "0.000s to localhost:18081 [DEFAULT via TCP]",
	    "{\"milliseconds\":0,\"target\":\"localhost:18081\",\"protocol\":\"DEFAULT\",\"type\":\"TCP\"}" },
	{ "port response time", "0.998 ms to [127.0.0.1]:18080 type TCP/IP protocol HTTP",
	    "{\"milliseconds\":0.998,\"target\":\"[127.0.0.1]:18080\",\"type\":\"TCP/IP\",\"protocol\":\"HTTP\"}" },
	{ "ping response time", "0.000s [Ping]", "{\"milliseconds\":0,\"protocol\":\"Ping\"}" },
	{ "ping response time", "0.025 ms", "{\"milliseconds\":0.025}" },
	{ "filedescriptors", "5 [0.0% of 20000 limit]", "{\"value\":5,\"percent\":0,\"limit\":20000}" },
	{ "filedescriptors", "N/A", "null" },
	{ "disk write", "0 B/s [4 kB total]", "{\"bytes_per_second\":0,\"total_bytes\":4096}" },
	{ "last exit value", "2", "2" },
	{ "last output", "all good", "\"all good\"" },
	{ "load average", "[0.34] [0.28] [0.66]", "[0.34,0.28,0.66]" },
	{ "memory usage", "383708 kB [1.5%]", "{\"bytes\":392916992,\"percent\":1.5}" },
	{ "swap usage", "0 kB [0.0%]", "{\"bytes\":0,\"percent\":0}" },
	{ "swap usage", "0.0 B [0.0%]", "{\"bytes\":0,\"percent\":0}" },
	{ "monitoring status", "Monitored", "\"Monitored\"" },
	{ "hardlink", "1", "1" },
	{ "access timestamp", "Sun, 22 Nov 2026 14:58:11", "\"2026-11-22T14:58:11Z\"" },
	{ "blocks free total", "60472500 [236220.7 MB] [91.6%]",
	    "{\"value\":60472500,\"bytes\":247695356723,\"percent\":91.6}" },
	{ "blocks free total", "60558862 [231.0 GB] [91.7%]",
	    "{\"value\":60558862,\"bytes\":248034361344,\"percent\":91.7}" },
	{ "space free for non superuser", "74.8 GB [29.7%]", "{\"bytes\":80315888435,\"percent\":29.7}" },
	{ "read bytes", "25.1 kB/s [4.1 GB total]", "{\"bytes_per_second\":25702,\"total_bytes\":4402341478}" },
	{ "read bytes", "330.7 kB/s [4.0 GB total]", "{\"bytes_per_second\":338637,\"total_bytes\":4294967296}" },
	{ "disk read operations", "45.1 reads/s [138781 reads total]", "{\"per_second\":45.1,\"total\":138781}" },
	{ "write bytes", "13.7 MB/s [9.0 GB total]", "{\"bytes_per_second\":14365491,\"total_bytes\":9663676416}" },
	{ "write bytes", "0 B/s [7.2 GB total]", "{\"bytes_per_second\":0,\"total_bytes\":7730941133}" },
	{ "disk write operations", "1.7 writes/s [705028 writes total]", "{\"per_second\":1.7,\"total\":705028}" },
	{ "disk write operations", "3972.3 writes/s [675297 writes total]", "{\"per_second\":3972.3,\"total\":675297}" },
	{ "disk write operations", "2984.5 writes/s [623817 writes total]", "{\"per_second\":2984.5,\"total\":623817}" },
	{ "data collected", "Sun, 22 Nov 2026 15:05:49", "\"2026-11-22T15:05:49Z\"" },
	{ "parent pid", "1", "1" },
	{ "threads", "1", "1" },
	{ "disk read", "0 B/s [3.1 MB total]", "{\"bytes_per_second\":0,\"total_bytes\":3250586}" },
	{ "total filedescriptors", "5", "5" },
	{ "read bytes", "0 B/s [6.8 kB total]", "{\"bytes_per_second\":0,\"total_bytes\":6963}" },
	{ "disk read bytes", "0 B/s [0 B total]", "{\"bytes_per_second\":0,\"total_bytes\":0}" },
	{ "disk read operations", "0.0 reads/s [10 reads total]", "{\"per_second\":0,\"total\":10}" },
	{ "write bytes", "0 B/s [0 B total]", "{\"bytes_per_second\":0,\"total_bytes\":0}" },
	{ "disk write bytes", "0 B/s [0 B total]", "{\"bytes_per_second\":0,\"total_bytes\":0}" },
	{ "disk write operations", "0.0 writes/s [0 writes total]", "{\"per_second\":0,\"total\":0}" },
	{ "port response time", "0.001s to 127.0.0.1:18080 [HTTP via TCP]",
	    "{\"milliseconds\":1,\"target\":\"127.0.0.1:18080\",\"protocol\":\"HTTP\",\"type\":\"TCP\"}" },
	{ "port response time", "0.645 ms to 127.0.0.1:18080 type TCP/IP ", "\"0.645 ms to 127.0.0.1:18080 type TCP/IP \"" },
	{ "data collected", "Sun, 22 Nov 2026 15:06:04", "\"2026-11-22T15:06:04Z\"" },
	{ "cpu", "0.1%us 0.0%sy 0.0%wa", "{\"user_percent\":0.1,\"system_percent\":0,\"iowait_percent\":0}" },
	{ "cpu", "47.4%us 43.0%sy 6.0%wa", "{\"user_percent\":47.4,\"system_percent\":43,\"iowait_percent\":6}" },
	{ "cpu", "7.6%us 15.7%sy 20.2%wa", "{\"user_percent\":7.6,\"system_percent\":15.7,\"iowait_percent\":20.2}" },
	{ "cpu", "0.3%us 0.5%sy 0.2%wa", "{\"user_percent\":0.3,\"system_percent\":0.5,\"iowait_percent\":0.2}" },
	{ "memory usage", "161.2 MB [0.6%]", "{\"bytes\":169030451,\"percent\":0.6}" },
	{ "swap usage", "0 B [0.0%]", "{\"bytes\":0,\"percent\":0}" },
	{ "data collected", "Sun, 22 Nov 2026 15:28:03", "\"2026-11-22T15:28:03Z\"" },
	{ "uptime", "27m", "{\"seconds\":1620}" },
	{ "filedescriptors", "1638 [0.1% of 2466177 limit]", "{\"value\":1638,\"percent\":0.1,\"limit\":2466177}" },
	{ "filedescriptors", "732 [0.0% of 2466177 limit]", "{\"value\":732,\"percent\":0,\"limit\":2466177}" },
	{ "filedescriptors", "1578 [0.1% of 2466177 limit]", "{\"value\":1578,\"percent\":0.1,\"limit\":2466177}" },
};

static const struct row berlin_rows[] = {
	{ "boot time", "Sat, 13 Apr 2019 11:24:17", "\"2019-04-13T09:24:17Z\"" },
	{ "boot time", "Sat Apr 13 11:24:17 2019", "\"2019-04-13T09:24:17Z\"" },
	{ "boot time", "Sun, 27 Oct 2019 02:30:00", "\"2019-10-27T00:30:00Z\"" },	/* twice: the earlier */
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
	check_rows(version_rows, COUNT(version_rows), utc);
}

static void
test_time_zone(void **state)
{
	(void)state;
	check_rows(berlin_rows, COUNT(berlin_rows), berlin_2019);
}

/* A value that is typed stays the same value where a blank of it is missing or doubled. */
static void
test_blanks(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(version_rows); i++) {
		const struct row *row = &version_rows[i];

		if (strncmp(row->json + 1, row->text, strlen(row->text)) == 0)
			continue;
		for (const char *blank = strchr(row->text, ' '); blank != NULL && blank[1] != '\0'; blank = strchr(blank + 1, ' '))
			for (int blanks = 0; blanks <= 2; blanks++) {
				struct px_buf text = PX_BUF(4096);

				px_buf_add(&text, row->text, (size_t)(blank - row->text));
				for (int j = 0; j < blanks; j++)
					px_buf_add_byte(&text, ' ');
				px_buf_add_text(&text, blank + 1);
				check_rows(&(struct row){ row->label, px_buf_text(&text), row->json }, 1, utc);
				px_buf_clear(&text);
			}
	}
}

/* Bytes that are no form and no end of one: the whole text comes back, whatever its length. */
static void
test_long_values(void **state)
{
	static const char *const parts[] = { "typeprotocol", "[", "9", "FAILED to ", "1%us ", "-", " to [a via", "\x01" };

	(void)state;
	for (size_t i = 0; i < COUNT(parts); i++) {
		struct px_buf text = PX_BUF(1 << 20);
		struct px_buf out = PX_BUF(1 << 23);

		px_buf_add_text(&text, "FAILED to ");
		while (text.len < (1 << 19))
			px_buf_add_text(&text, parts[i]);
		px_value_write(&out, px_slice("x"), (struct px_slice){ text.data, text.len }, utc);
		assert_false(out.failed);
		assert_true(out.len >= text.len + 2);
		assert_int_equal(out.data[0], '"');
		px_buf_clear(&text);
		px_buf_clear(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_time_zone),
		cmocka_unit_test(test_blanks),
		cmocka_unit_test(test_long_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
