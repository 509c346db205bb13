# Made by `make completions` from what px-status-event --help prints: change nothing here.
complete -c px-status-event -f
complete -c px-status-event -s c -l config -r -F -d 'configuration'
complete -c px-status-event -s s -l spool -r -F -d 'the spool, instead of the configured one'
complete -c px-status-event -s m -l message -x -d 'free text for a person'
complete -c px-status-event -s n -l dry-run -d 'print the event document, store nothing'
complete -c px-status-event -s h -l help -d 'print this help'
complete -c px-status-event -s V -l version -d 'print the version'
