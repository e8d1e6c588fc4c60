#compdef rbake
# Completions of rbake for zsh. To have them in every shell:
#   rbake completion zsh > "${fpath[1]}/_rbake"

_rbake() {
    local -a lines values shown options
    local directive line value about
    # The words up to the cursor, without their quotes.
    lines=("${(@f)$(rbake __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}") || return 1
    directive=${lines[-1]#:}
    for line in "${(@)lines[1,-2]}"; do
        value=${line%%$'\t'*}
        about=${${line#$value}#$'\t'}
        values+=("$value")
        shown+=("$value${about:+  -- $about}")
    done
    # Of --flag=value, only the value is completed.
    if [[ $PREFIX == -*=* ]]; then compset -P '*='; fi
    if (( directive & 2 )); then options=(-S ''); fi
    if (( ${#values} )); then
        compadd -l "${(@)options}" -d shown -a values
    elif (( ! (directive & 4) )); then
        _files
    else
        return 1
    fi
}

# Read by compinit from a file in fpath, or by the shell itself.
if [[ $funcstack[1] == _rbake ]]; then
    _rbake "$@"
else
    compdef _rbake rbake
fi
