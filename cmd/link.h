/* SPDX-License-Identifier: MIT */
/*
 * How this device reaches upstream and Monit, from its configuration: reads secrets and certificates while the process
 * still has its first identity, keeps the helper that runs commands, and gives the flush its functions.
 */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>

#include "config.h"
#include "deliver.h"
#include "http.h"
#include "proc.h"

/* What may run as root, by its number in the helper. */
enum link_command { LINK_MONIT, LINK_TOKEN, LINK_COMMANDS };

/* A CA, a certificate and its key, and the secrets for Monit, a proxy and upstream. */
#define LINK_FILES_MAX 6

struct link {
	const struct px_config *config;
	char url[2 * PX_CONFIG_TEXT_MAX];	/* whole; "" without one */

	const char *files[LINK_FILES_MAX];	/* paths of what was read, for the life of ${config} */
	size_t file_count;
	struct px_buf ca;
	struct px_buf client_cert;
	struct px_buf client_key;
	struct px_buf token;
	struct px_buf password;
	struct px_buf proxy_password;
	struct px_buf monit_password;

	struct px_command commands[LINK_COMMANDS];	/* argv NULL: not used, or not to be found */
	char missing[PX_ERR_MAX];			/* why Monit's command can't be run; "" when it can */
	struct px_helper *helper;			/* NULL: commands run as who we are */
	bool monit_by_command;				/* so its last answer came */

	struct px_http *http;				/* NULL until the first post */
	struct px_upstream upstream;
	bool has_token;					/* in this run */
	struct px_buf sent_token;			/* the one in force */
};

/*
 * Reads every file that the configuration names and that posting (${posts}) and asking Monit (${asks}) need, and parses the
 * commands. Run by root it starts the helper, when only root can write the configuration and the programs. -1 with
 * PX_CONFIG and what is wrong with which file. link_close frees everything, whatever happened.
 */
int link_open(struct link *link, const struct px_config *config, const struct px_device *device, bool posts, bool asks,
    struct px_err *err) PX_MUST_CHECK;
void link_close(struct link *link);

/*
 * For px_flush_job: asks Monit by socket, HTTP or command; ${link} is a struct link. -1 with PX_LATER, what was asked
 * and why.
 */
int link_ask_monit(void *link, struct px_buf *text, struct px_err *err);

#endif
