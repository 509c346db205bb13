# Made by `make completions` from what px-status-flush --help prints: change nothing here.
complete -c px-status-flush -f
complete -c px-status-flush -s c -l config -r -F -d 'configuration'
complete -c px-status-flush -s s -l spool -r -F -d 'the spool, instead of the configured one'
complete -c px-status-flush -l now -d 'take a snapshot and post now, due or not'
complete -c px-status-flush -l no-snapshot -d 'only post what is spooled'
complete -c px-status-flush -s n -l dry-run -d 'print what would be posted, change nothing'
complete -c px-status-flush -l check -d 'test all that a flush needs, a line each'
complete -c px-status-flush -s q -l quiet -d 'say less on stderr'
complete -c px-status-flush -s v -l verbose -d 'say more on stderr'
complete -c px-status-flush -s h -l help -d 'print this help'
complete -c px-status-flush -s V -l version -d 'print the version'
