# Completions of rbake for fish. To have them in every shell:
#   rbake completion fish > ~/.config/fish/completions/rbake.fish

function __rbake_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --current-token --cut-at-cursor)
    # As it will be without its quotes, of which the last may not be typed yet.
    if string match --quiet --regex -- '^[\'"]' "$current"
        set current (string sub --start=2 -- "$current")
    else
        set current (string unescape -- "$current"; or echo -- "$current")
    end
    set -l lines (rbake __complete $words[2..] "$current" 2>/dev/null)
    or return
    set -l directive (string replace ':' '' -- $lines[-1])
    set -e lines[-1]
    # Of --flag=value, rbake completes the value.
    set -l flag (string match --regex -- '^-[^=]*=' "$current")
    for line in $lines
        printf '%s%s\n' "$flag" "$line"
    end
    if test (math "bitand($directive, 4)") -eq 0
        for path in (__fish_complete_path (string replace -- "$flag" '' "$current"))
            printf '%s%s\n' "$flag" "$path"
        end
    end
end

complete --command rbake --no-files --keep-order --arguments '(__rbake_complete)'
