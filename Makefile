# SPDX-License-Identifier: MIT
# For GNU make 4.3; no configure step. `make help` tells what there is to make.

VERSION = 0.1.0

# ---- What may be set on the command line. CFLAGS, CPPFLAGS and LDFLAGS are the user's and come last.

ifeq ($(origin CC),default)
CC = gcc
endif
CFLAGS ?= -O2 -g

PREFIX = /usr
SYSCONFDIR = /etc
LOCALSTATEDIR = /var
DESTDIR =

# 1: with AddressSanitizer and UndefinedBehaviorSanitizer
SAN =
# 1: a warning is an error
WERROR =
# 1: px-status-event holds SQLite itself, and the C library, so that there is nothing to load; starts faster, but a
# distribution's update of SQLite does not reach it
STATIC_SQLITE =
# What libcurl is loaded by, when it is needed: the name that a program linked with it would have, or a file, where a linker
# would have left its folder in the program. There may be no compiler yet, as where this installs it.
LIBCURL := $(or $(shell { objdump -p $$($(CC) -print-file-name=libcurl.so); } 2>/dev/null | sed -n 's/^ *SONAME *//p'),\
	libcurl.so.4)
# 1: show the commands
V =
# for each fuzz target
FUZZ_SECONDS = 20
# of drawn faults in make check
FAULT_SECONDS = 60
# events that wait in a large spool in make bench
BENCH_EVENTS = 1000000
# for the end-to-end tests, as in PYTEST_ARGS='-k overflow'
PYTEST_ARGS =

# ---- Flags

comma := ,
empty :=
space := $(empty) $(empty)
is = $(filter 1 yes on,$(1))

# ${1} when the compiler knows it.
understood = $(shell echo 'int x;' | $(CC) -Werror $(1) -fsyntax-only -x c - 2>/dev/null && echo '$(1)')

warnings := -Wall -Wextra -Wpedantic -Wshadow -Wformat=2 -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes \
	-Wwrite-strings -Wcast-qual -Wpointer-arith -Wimplicit-fallthrough -Wswitch-enum -Wconversion \
	$(if $(call is,$(WERROR)),-Werror)

# All compilers have the first two; clang 14 has not the last, and control-flow protection depends on the machine.
hardening := -fPIE -fstack-protector-strong $(foreach flag,-fstack-clash-protection -fcf-protection \
	-ftrivial-auto-var-init=zero,$(call understood,$(flag)))
sanitizers :=
fuzzer :=

ifneq ($(call is,$(SAN)),)
sanitizers := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifneq ($(call is,$(FUZZ)),)
sanitizers := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
fuzzer := -fsanitize=fuzzer
else ifeq ($(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),)
# It needs optimization, and some compilers bring a definition of their own.
ifneq ($(filter-out -O0,$(lastword $(filter -O%,$(CFLAGS)))),)
hardening += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif
endif

quoted = '"$(1)"'
ours := -std=c17 -D_GNU_SOURCE -iquote lib -iquote cmd -DPX_VERSION=$(call quoted,$(VERSION)) \
	-DPX_PREFIX=$(call quoted,$(PREFIX)) -DPX_SYSCONFDIR=$(call quoted,$(SYSCONFDIR)) \
	-DPX_LOCALSTATEDIR=$(call quoted,$(LOCALSTATEDIR)) -DPX_LIBCURL=$(call quoted,$(LIBCURL)) \
	-ffile-prefix-map='$(CURDIR)/='

# A program has no more than it calls: what is not there need not be loaded, nor its symbols looked up.
sections := -ffunction-sections -fdata-sections

compile = $(CC) $(ours) $(warnings) $(hardening) $(sections) $(sanitizers) $(CPPFLAGS) $(CFLAGS)
link = $(CC) $(hardening) $(sanitizers) $(or $(pie),-pie) -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections $(CFLAGS) $(LDFLAGS)

# Each shared library is a part of the time that an event takes. inih is some 200 lines, so it is linked in where its
# archive is there; SQLite only when asked to, and then everything (but sanitizers are shared libraries). SQLite can load
# extensions, of which a linker warns in a static program; no program of ours does.
has_archive = $(shell echo 'int main(void) { return 0; }' | $(CC) -x c - -o /dev/null -l:$(1) 2>/dev/null && echo '$(1)')
recorder_libs := $(if $(call has_archive,libinih.a),-l:libinih.a,-linih) $(if $(call is,$(STATIC_SQLITE)),-l:libsqlite3.a -lm,-lsqlite3)
recorder_pie := $(if $(sanitizers),,$(if $(call is,$(STATIC_SQLITE)),-static-pie -Wl$(comma)--no-warnings))
flush_libs := -linih -lsqlite3 -lcjson -lz -lm

# ---- What is built, and where: each compiler and each kind of build has a folder of its own.

variant := $(subst $(space),_,$(notdir $(CC)))$(if $(call is,$(SAN)),-san)$(if \
	$(call is,$(FUZZ)),-fuzz)$(if $(call is,$(WERROR)),-werror)
build := build/$(variant)

programs := $(addprefix $(build)/,px-status px-status-event px-status-flush)
object = $(patsubst %.c,$(build)/%.o,$(1))
lib_objects := $(call object,$(wildcard lib/*.c))
# Every file of cmd/ that is not a program is there for all programs.
shared_objects := $(call object,$(filter-out cmd/px-%,$(wildcard cmd/*.c))) $(build)/cmd/control_cpu_rules.o
unit_shared := $(call object,$(filter-out test/unit/test_%,$(wildcard test/unit/*.c)))
unit_tests := $(patsubst %.c,$(build)/%,$(wildcard test/unit/test_*.c))
bench_tools := $(addprefix $(build)/test/bench/,floor peak)
bench_programs := $(addprefix $(build)/test/bench/,insert parse)
fuzz_targets := $(patsubst %.c,$(build)/%,$(wildcard test/fuzz/fuzz_*.c))

quiet := $(if $(call is,$(V)),,@)
# Of -s, which is among the letters that MAKEFLAGS begins with.
silent = $(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
say = $(if $(call is,$(V))$(silent),,@printf '  %-5s %s\n' $(1) $(2))
# For a make that this one starts: as many jobs as processors, unless the user said how many.
make_all_cpus = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all check check-unit check-e2e check-faults check-valgrind faults unit-tests lint headers bench demo fuzz fuzz-targets install \
	uninstall deb completions clean help FORCE

all: $(programs)

help:
	@echo 'make              the programs, in $(build)'
	@echo 'make demo         an alert on its way from Monit to a server on this machine'
	@echo 'make check        all tests; check-unit, check-e2e, check-faults and check-valgrind run a part of them'
	@echo 'make faults       every fault at every place, for hours; make check draws some for FAULT_SECONDS'
	@echo 'make lint         rules of the source, static analysis, builds with gcc and clang without a warning'
	@echo 'make bench        how fast and small the programs are, beside others, with BENCH_EVENTS in a large spool;'
	@echo '                  a table, and the same in build/bench.json'
	@echo 'make fuzz         runs each fuzz target for FUZZ_SECONDS (clang)'
	@echo 'make completions  share/completions anew, after a change of options or commands'
	@echo 'make install      also uninstall; PREFIX, SYSCONFDIR, LOCALSTATEDIR, DESTDIR'
	@echo 'make deb          a package for Debian, in build/deb'
	@echo 'make clean        removes build/'
	@echo
	@echo 'CC, CFLAGS, CPPFLAGS, LDFLAGS as usual; SAN=1 WERROR=1 V=1 STATIC_SQLITE=1 as the Makefile says'

# What the last build was made with, so that other flags make it anew.
shell_quoted = '$(subst ','\'',$(1))'
$(build)/compile-flags: now = $(compile)
$(build)/link-flags: now = $(link) $(recorder_pie) $(recorder_libs) $(flush_libs)
$(build)/%-flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(call shell_quoted,$(now)) | cmp -s - $@ || printf '%s\n' $(call shell_quoted,$(now)) >$@

$(build)/%.o: %.c $(build)/compile-flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(quiet)$(compile) -MMD -MP -c -o $@ $<

# The rules that --check tells to add are those of the snippet, without its comments.
$(build)/cmd/control_cpu_rules.c: share/monitrc.d/cpu $(build)/compile-flags
	@mkdir -p $(@D)
	$(quiet){ echo '#include "control.h"' && echo 'const char *const control_cpu_rules[] = {' && \
		sed -e '1,/^check system/d; /^ *#/d' -e '$(true_of_prefix); s/["\\]/\\&/g; s/.*/"&",/' $< && echo 'NULL };'; } >$@
$(build)/cmd/control_cpu_rules.o: $(build)/cmd/control_cpu_rules.c
	$(call say,CC,$<)
	$(quiet)$(compile) -include stddef.h -c -o $@ $<

# The folders stand for a source file that is gone.
$(build)/libpx.a: $(lib_objects) lib
$(build)/libcmd.a: $(shared_objects) cmd
$(build)/%.a:
	$(call say,AR,$@)
	@rm -f $@
	$(quiet)$(AR) rcs $@ $(filter %.o,$^)

$(build)/px-status-event: libs = $(recorder_libs)
$(build)/px-status-event: pie = $(recorder_pie)
$(build)/px-status $(build)/px-status-flush: libs = $(flush_libs)
$(programs): $(build)/px-%: $(build)/cmd/px-%.o

$(unit_tests): libs = -lcmocka $(flush_libs)
$(unit_tests): $(build)/%: $(build)/%.o $(unit_shared)

$(fuzz_targets): libs = $(fuzzer) $(flush_libs)
$(fuzz_targets): $(build)/%: $(build)/%.o

$(bench_programs): libs = $(flush_libs)
$(bench_programs): $(build)/%: $(build)/%.o

$(programs) $(unit_tests) $(fuzz_targets) $(bench_programs): $(build)/libcmd.a $(build)/libpx.a $(build)/link-flags
	$(call say,LD,$@)
	$(quiet)$(link) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(libs)

-include $(wildcard $(build)/*/*.d $(build)/*/*/*.d)

# ---- Tests. Each target first installs what it needs and this machine has not.

need = @test/tools/need

unit-tests: $(unit_tests)
fuzz-targets: $(fuzz_targets)

check:
	$(need) build check deb
	@$(make_all_cpus) all unit-tests
	@FAULT_SECONDS=$(FAULT_SECONDS) test/tools/run-tests '$(CURDIR)/$(build)' unit e2e faults

check-unit check-e2e check-faults check-valgrind: check-%:
	$(need) build check $(if $(filter e2e,$*),deb) $(filter valgrind,$*)
	@$(make_all_cpus) $(if $(filter e2e faults,$*),all,unit-tests)
	@FAULT_SECONDS=$(FAULT_SECONDS) test/tools/run-tests '$(CURDIR)/$(build)' $*

faults:
	$(need) build check
	@$(make_all_cpus) all
	@FAULT_SECONDS= test/tools/run-tests '$(CURDIR)/$(build)' faults

# Stale folders of another compiler are no matter to it: the script builds what it needs.
lint:
	$(need) build check lint
	@MAKE='$(make_all_cpus)' test/tools/lint

# Each header compiles alone.
headers: $(patsubst %.h,$(build)/%.h.alone,$(wildcard lib/*.h cmd/*.h))
$(build)/%.h.alone: %.h FORCE
	$(quiet)$(compile) -fsyntax-only -x c $<

demo:
	$(need) build demo
	@$(make_all_cpus) all
	@test/tools/demo '$(CURDIR)/$(build)'

bench:
	$(need) build bench
	@$(make_all_cpus) all $(bench_tools) $(bench_programs)
	@$(make_all_cpus) STATIC_SQLITE=1 build=$(build)-static $(build)-static/px-status-event
	@BENCH_EVENTS=$(BENCH_EVENTS) test/bench/bench '$(CURDIR)/$(build)' build/bench.json

# Static, as small and quick to start as a program can be.
$(bench_tools): $(build)/%: %.c $(build)/compile-flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(quiet)$(CC) -std=c17 -D_GNU_SOURCE $(warnings) $(CPPFLAGS) $(CFLAGS) -static -o $@ $<

fuzz:
	$(need) build lint
	@$(make_all_cpus) CC=clang FUZZ=1 fuzz-targets
	@test/tools/run-fuzz '$(CURDIR)/build/clang-fuzz' $(FUZZ_SECONDS)

# After a change of options or commands.
completions: all
	test/tools/completions '$(CURDIR)/$(build)' share/completions

# ---- Installation

bindir = $(DESTDIR)$(PREFIX)/bin
mandir = $(DESTDIR)$(PREFIX)/share/man
libdir = $(DESTDIR)$(PREFIX)/lib
datadir = $(DESTDIR)$(PREFIX)/share/px-status
confdir = $(DESTDIR)$(SYSCONFDIR)/px-status
spooldir = $(DESTDIR)$(LOCALSTATEDIR)/lib/px-status

# Folders of share/: those whose files are ours alone to have, and those whose files go where systemd or a shell looks for them.
own_shares := monitrc.d checks cron examples schema
placed_shares := systemd sysusers.d tmpfiles.d completions/bash completions/zsh completions/fish
# $(call place_of,systemd) is where files of such a folder go.
place_of = $(or $(place_of_$(1)),$(libdir)/$(1))
place_of_systemd = $(libdir)/systemd/system
place_of_completions/bash = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
place_of_completions/zsh = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
place_of_completions/fish = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
pages := $(wildcard man/*.[1-9])
page_dirs := $(sort $(foreach page,$(pages),man$(patsubst .%,%,$(suffix $(page)))))

# All that are needed, and a list, without DESTDIR, of those that `make install` had to make.
folders = $(bindir) $(confdir) $(addprefix $(datadir)/,$(own_shares)) $(foreach share,$(placed_shares),$(call \
	place_of,$(share))) $(addprefix $(mandir)/,$(page_dirs)) $(DESTDIR)$(LOCALSTATEDIR)/lib
made_folders = $(datadir)/made-folders
make_folders = made=$$(for dir in $(folders); do \
		while [ ! -d "$$dir" ] && [ "$$dir" != '$(DESTDIR)' ]; do \
			echo "$${dir\#'$(DESTDIR)'}"; dir=$$(dirname "$$dir"); \
		done; \
	done) && \
	install -d $(folders) && \
	if [ -n "$$made" ]; then \
		echo "$$made" >>$(made_folders) && sort -u -o $(made_folders) $(made_folders) && chmod 644 $(made_folders); \
	fi

# What these files say of /usr, /etc and /var is true under another PREFIX, SYSCONFDIR and LOCALSTATEDIR too.
true_of_prefix = s|/usr/bin/px-status|$(PREFIX)/bin/px-status|g; s|/usr/share/px-status|$(PREFIX)/share/px-status|g; \
	s|/etc/px-status|$(SYSCONFDIR)/px-status|g; s|/var/lib/px-status|$(LOCALSTATEDIR)/lib/px-status|g
# $(call install_texts,FILES,FOLDER,MODE), lines of a recipe.
install_texts = $(call say,INST,$(2))$(newline)	$(quiet)for file in $(1); do \
	sed '$(true_of_prefix)' $$file >$(2)/$${file\#\#*/} && \
	chmod $(3) $(2)/$${file\#\#*/} || exit; done
newline := $(empty)
define newline


endef

# The spool's folder is for the system user px-status, who is made where root installs on the device itself. A folder that
# was there before is left as it is.
user = px-status
add_user = useradd --system --user-group --no-create-home --home-dir $(LOCALSTATEDIR)/lib/px-status \
	--shell /usr/sbin/nologin $(user)
make_spooldir = if [ -d $(spooldir) ]; then \
		:; \
	elif [ -z '$(DESTDIR)' ] && [ "$$(id -u)" -eq 0 ]; then \
		{ getent passwd $(user) >/dev/null || $(add_user); } && \
		install -d -m 700 -o $(user) -g "$$(id -gn $(user))" $(spooldir); \
	else \
		install -d -m 700 $(spooldir) && \
		echo 'Left to do on the device, as root, unless systemd-sysusers and systemd-tmpfiles do it:' && \
		echo '  $(add_user)' && \
		echo '  install -d -m 700 -o $(user) -g $(user) $(LOCALSTATEDIR)/lib/px-status'; \
	fi

install: all
	@$(make_folders)
	$(call say,INST,$(bindir))
	$(quiet)install -m 755 $(programs) $(bindir)
	$(foreach share,$(own_shares),$(call install_texts,$(wildcard share/$(share)/*),$(datadir)/$(share),$(if \
		$(filter checks,$(share)),755,644))$(newline)	)
	$(foreach share,$(placed_shares),$(call install_texts,$(wildcard share/$(share)/*),$(call place_of,$(share)),644)$(newline)	)
	$(foreach dir,$(page_dirs),$(call install_texts,$(wildcard man/*.$(dir:man%=%)),$(mandir)/$(dir),644)$(newline)	)
	$(quiet)[ -e $(confdir)/px-status.conf ] || [ -L $(confdir)/px-status.conf ] || \
		install -m 644 $(datadir)/examples/px-status.conf $(confdir)/px-status.conf
	@$(make_spooldir)

# What a person wrote stays: a configuration that is not as it came, the spool and baselines of checks, what others put into
# our folders; and the user px-status, whose files these are. Folders that others use too stay where they were there before.
uninstall:
	$(call say,RM,'what was installed below $(DESTDIR)$(PREFIX)')
	$(quiet)[ -L $(confdir)/px-status.conf ] || ! cmp -s $(datadir)/examples/px-status.conf $(confdir)/px-status.conf || \
		rm $(confdir)/px-status.conf
	$(quiet)rm -f $(addprefix $(bindir)/,$(notdir $(programs)))
	$(quiet)rm -f $(foreach share,$(placed_shares),$(addprefix $(call place_of,$(share))/,$(notdir $(wildcard share/$(share)/*))))
	$(quiet)rm -f $(foreach page,$(pages),$(mandir)/man$(patsubst .%,%,$(suffix $(page)))/$(notdir $(page)))
	$(quiet)rm -f $(foreach share,$(own_shares),$(addprefix $(datadir)/$(share)/,$(notdir $(wildcard share/$(share)/*))))
	$(quiet)rm -rf $(datadir)/examples/__pycache__
	$(quiet)made=$$(sort -r $(made_folders) 2>/dev/null | sed 's|^|$(DESTDIR)|'); rm -f $(made_folders); \
	for dir in $(addprefix $(datadir)/,$(own_shares)) $(datadir) $(confdir) $(spooldir) $$made; do \
		rmdir $$dir 2>/dev/null || :; done

deb:
	$(need) build deb
	@test/tools/make-deb build/deb

clean:
	rm -rf build
