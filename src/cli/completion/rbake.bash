# Completions of rbake for bash 4.4 or newer. To have them in every shell:
#   rbake completion bash > ~/.local/share/bash-completion/completions/rbake

_rbake() {
    # bash also splits words at = and :, which are put together again here. The current one ends at the cursor: its last
    # piece is $2, or characters to split at.
    local IFS=$' \t\n' rest=$COMP_LINE words=() word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ ${#words[@]} -eq 0 || $rest == [[:space:]]* ]]; then words+=(''); fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"$word"}
        if [[ $i -eq $COMP_CWORD && -n ${word//[=:]/} ]]; then word=$2; fi
        words[-1]+=${word//[\'\"\\]/}
    done
    local current=${words[-1]} typed
    [[ $current == -*=* ]] && current=${current#*=}
    typed=${current%"$2"}

    local answer lines directive value about values=() shown=() width=0
    answer=$(rbake __complete "${words[@]:1}" 2>/dev/null) || return 0
    mapfile -t lines <<<"$answer"
    directive=${lines[-1]#:}
    unset 'lines[-1]'
    for word in "${lines[@]}"; do
        value=${word%%$'\t'*}
        about=${word#"$value"}
        values+=("${value#"$typed"}")
        shown+=("${about#$'\t'}")
        if ((${#value} > width)); then width=${#value}; fi
    done

    # Where the words are only listed, what they mean is listed, too.
    if [[ ${#values[@]} -gt 1 && ($COMP_TYPE -eq 63 || $COMP_TYPE -eq 33) ]]; then
        for i in "${!values[@]}"; do
            if [[ -n ${shown[i]} ]]; then
                printf -v value '%-*s  (%s)' "$width" "${values[i]}" "${shown[i]}"
                values[i]=${value:0:${COLUMNS:-80}}
            fi
        done
    fi
    COMPREPLY=("${values[@]}")
    if ((directive & 2)); then compopt -o nospace; fi
    if ! ((directive & 4)); then compopt -o default; fi
}

complete -F _rbake rbake
