# Made by `make completions` from what px-status --help prints: change nothing here.

# The command on the command line so far; then what names the spool there.
function _px_status_command
	set -l words (commandline -opc)
	set -e words[1]
	while set -q words[1]
		switch $words[1]
			case -c --config -s --spool --state --max-age
				set -e words[1]
			case '-*'
			case '*'
				echo $words[1]
				return
		end
		set -e words[1]
	end
end

function _px_status_takes
	set -l command (_px_status_command)
	contains -- "$command" $argv
end

function _px_status_ids
	set -l words (commandline -opc)
	set -l spool
	for i in (seq 2 (count $words))
		switch $words[$i]
			case -c --config -s --spool
				set -a spool $words[$i] $words[(math $i + 1)]
			case '--config=*' '--spool=*'
				set -a spool $words[$i]
		end
	end
	px-status $spool list --json $argv 2>/dev/null | string replace -r '^\{"id":"([^"]*)".*"state":"(\w+)".*"topic":"?([^,"]*).*' '$1\t$2 $3'
end

complete -c px-status -f
complete -c px-status -n '_px_status_takes ""' -a list -d 'the items in order of seq'
complete -c px-status -n '_px_status_takes ""' -a show -d 'one item whole'
complete -c px-status -n '_px_status_takes show' -a '(_px_status_ids)'
complete -c px-status -n '_px_status_takes ""' -a stats -d 'counters, sizes, ages and the last runs'
complete -c px-status -n '_px_status_takes ""' -a health -d 'one line, and whether all is well by the exit status'
complete -c px-status -n '_px_status_takes ""' -a export -d 'every item as JSON lines'
complete -c px-status -n '_px_status_takes ""' -a retry -d 'quarantined items back to pending'
complete -c px-status -n '_px_status_takes retry' -a '(_px_status_ids --state quarantined)'
complete -c px-status -n '_px_status_takes ""' -a drop -d 'remove items for good'
complete -c px-status -n '_px_status_takes drop' -a '(_px_status_ids)'
complete -c px-status -n '_px_status_takes ""' -a config -d 'every setting in force and where it came from'
complete -c px-status -s c -l config -r -F -d 'configuration'
complete -c px-status -s s -l spool -r -F -d 'the spool, instead of the configured one'
complete -c px-status -n '_px_status_takes "" list stats' -l json -d 'as JSON'
complete -c px-status -n '_px_status_takes "" stats' -l prometheus -d 'for a textfile collector'
complete -c px-status -n '_px_status_takes "" list' -l state -x -a 'pending quarantined' -d 'only these'
complete -c px-status -n '_px_status_takes "" health' -l max-age -x -d 'how old a pending item may be [1h]'
complete -c px-status -n '_px_status_takes "" retry' -l all -d 'every quarantined item'
complete -c px-status -s h -l help -d 'print this help'
complete -c px-status -s V -l version -d 'print the version'
