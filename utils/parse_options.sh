# shellcheck shell=bash
# utils/parse_options.sh -- set a script's options from its command line. Source it before any cd.
#
# The options of a script are its lines
#
#   name=default # meaning
#
# at column 0 above the line that sources this file. They are the defaults, the only names that can be set,
# and the text of --help (below the comment at the top of the script), so nothing is written twice.
#
#   --name value, --name=value   "-" and "_" are the same; the last one wins
#   name=true or name=false      takes only these; a bare --name means true
#   name=4                       a whole number as default takes only whole numbers; name="4" takes any text
#   name=() # meaning            a list: every --name value is added to it; the first replaces its default
#   --config file                options from a file, "--name=value", "--name value" or "name=value" a line, and
#                                comments (#); those of the command line win, wherever they stand, as in Kaldi
#   --                           ends the options; what follows stays in "$@"
#
# The first word that is no option ends them too. A value that begins with "--" needs the form with "=".
# Wrong usage is exit 2, --help is exit 0. Every name here begins with _po_, so as to meet no option's.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  printf '%s: error: needs bash 4.4 or newer, this is %s\n' "${0##*/}" "$BASH_VERSION" >&2
  exit 2
fi

_po_script=${BASH_SOURCE[1]}
_po_names=()            # the options in the script's order
declare -A _po_kinds=() # each one's kind: text, bool, int, list, or given (a list that has been set)
declare -A _po_means=() # what each means
declare -A _po_lines=() # lines that set a variable but say no meaning, so are none
_po_where=              # of an option in a file: "<file>:<line>: "

# The script's option lines -> _po_names, _po_kinds, _po_means, _po_lines.
_po_read() {
  local _po_line _po_name
  while IFS= read -r _po_line; do
    [[ ! $_po_line =~ ^[[:space:]]*(\.|source)[[:space:]].*parse_options\.sh ]] || break
    [[ $_po_line =~ ^([a-z][a-z0-9_]*)= ]] || continue
    _po_name=${BASH_REMATCH[1]}
    if [[ $_po_line != *[[:space:]]'# '* ]]; then
      _po_lines[$_po_name]=${_po_line%%[[:space:]]}
      continue
    fi
    _po_kinds[$_po_name]=text
    if [[ $_po_line == *'=('* && $(declare -p "$_po_name") == 'declare -a'* ]]; then
      _po_kinds[$_po_name]=list
    elif [[ ${!_po_name} == true || ${!_po_name} == false ]]; then
      _po_kinds[$_po_name]=bool
    elif [[ ${!_po_name} =~ ^-?[0-9]+$ && $_po_line != "$_po_name=\""* ]]; then
      _po_kinds[$_po_name]=int
    fi
    _po_means[$_po_name]=${_po_line#*[[:space:]]'# '}
    _po_names+=("$_po_name")
  done <"$_po_script"
}

_po_fail() {
  printf '%s: error: %s%s (try --help)\n' "${_po_script##*/}" "$_po_where" "$1" >&2
  exit 2
}

# _po_unknown OPTION: fail, saying why its line is none, or naming the nearest options.
_po_unknown() {
  local _po_near _po_name=${1#--}
  _po_name=${_po_name//-/_}
  [[ ! $1 =~ ^--[a-z][a-z0-9_-]*$ || -z ${_po_lines[$_po_name]-} ]] \
    || _po_fail "unknown option '$1'; the line '${_po_lines[$_po_name]}' is none, it has no '# meaning' at its end"
  _po_near=$(python3 -SE -c '
import difflib, sys
given, names = sys.argv[1].strip("-").replace("_", "-"), sys.argv[2:]
print(" or ".join(f"\x27--{name}\x27" for name in difflib.get_close_matches(given, names, 2, 0.6)))
' "$1" "${_po_names[@]//_/-}" 2>/dev/null) || _po_near=
  _po_fail "unknown option '$1'${_po_near:+; did you mean $_po_near?}"
}

# _po_set OPTION NAME VALUE: check the value, set the variable.
_po_set() {
  [[ $1 == --[a-z]* && -n ${_po_kinds[$2]-} ]] || _po_unknown "$1"
  case ${_po_kinds[$2]} in
    bool) [[ $3 == true || $3 == false ]] || _po_fail "option '$1' is true or false, not '$3'" ;;
    int)
      [[ $3 =~ ^-?(0|[1-9][0-9]*)$ ]] || _po_fail "option '$1' is a whole number, not '$3'"
      ((${#3} <= 9)) || _po_fail "option '$1' is a whole number of up to 9 digits, not '${3:0:30}'" # bash's own overflow
      ;;
    list | given)
      local -n _po_list=$2
      [[ ${_po_kinds[$2]} == given ]] || _po_list=()
      _po_list+=("$3")
      _po_kinds[$2]=given
      return
      ;;
  esac
  printf -v "$2" '%s' "$3"
}

# _po_read_file FILE: set the options that its lines name.
_po_read_file() {
  local _po_line _po_number=0 _po_name _po_value
  [[ -f $1 && -r $1 ]] || _po_fail "option '--config': $1: no such file, or it may not be read"
  while read -r _po_line || [[ -n $_po_line ]]; do
    _po_where="$1:$((++_po_number)): "
    _po_line=${_po_line%$'\r'}
    [[ -n $_po_line && $_po_line != '#'* ]] || continue
    [[ $_po_line =~ ^(--)?([A-Za-z][A-Za-z0-9_-]*)([[:space:]]*=|[[:space:]]|$)[[:space:]]*(.*)$ &&
      (-n ${BASH_REMATCH[1]} || ${BASH_REMATCH[3]} == *=) ]] \
      || _po_fail "expected --name=value, --name value or a comment, got '$_po_line'"
    _po_name=${BASH_REMATCH[2]} _po_value=${BASH_REMATCH[4]}
    if [[ $_po_value =~ ^(\"([^\"]*)\"|\'([^\']*)\')[[:space:]]*(#.*)?$ ]]; then
      _po_value=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
    else
      [[ $_po_value != '#'* ]] || _po_value=
      _po_value=${_po_value%%[[:space:]]#*}
      _po_value=${_po_value%"${_po_value##*[![:space:]]}"}
      [[ " $_po_value" =~ [[:space:]]--([A-Za-z][A-Za-z0-9_-]*) && -n ${_po_kinds[${BASH_REMATCH[1]//-/_}]-} ]] \
        && _po_fail "has --${BASH_REMATCH[1]} behind --$_po_name; give each option a line of its own, or quote the value"
      [[ -n $_po_value || $_po_line == *=* || ${_po_kinds[${_po_name//-/_}]-} != bool ]] || _po_value=true
    fi
    _po_set "--$_po_name" "${_po_name//-/_}" "$_po_value"
  done <"$1"
  _po_where=
}

# _po_read_files ARGUMENT...: all files that --config names among them; a list may be begun anew after them.
_po_read_files() {
  local _po_name
  while [[ ${1-} == -?* && $1 != -- ]]; do
    case $1 in
      --config=*) _po_read_file "${1#*=}" ;;
      --config)
        (($# > 1)) && [[ $2 != --* ]] || _po_fail "option '--config' needs a value"
        _po_read_file "$2"
        ;;
    esac
    [[ $1 == *=* || $# -lt 2 || $2 == --* ]] || shift # its value
    shift
  done
  for _po_name in "${_po_names[@]}"; do
    [[ ${_po_kinds[$_po_name]} != given ]] || _po_kinds[$_po_name]=list
  done
}

# _po_wrap INDENT WIDTH TEXT: print the text in lines of at most WIDTH, all but the first one indented.
_po_wrap() {
  local _po_line='' _po_word _po_words
  read -ra _po_words <<<"$3"
  for _po_word in "${_po_words[@]}"; do
    if ((${#_po_line} > 0 && ${#_po_line} + ${#_po_word} >= $2)); then
      printf '%s\n%*s' "$_po_line" "$1" ''
      _po_line=
    fi
    _po_line+=${_po_line:+ }$_po_word
  done
  printf '%s\n' "$_po_line"
}

# _po_help_entry LABEL INDENT WIDTH TEXT: print the label and, beside it or below, what it means.
_po_help_entry() {
  if ((${#1} + 2 > $2)); then
    printf '%s\n%*s' "$1" "$2" ''
  else
    printf '%-*s' "$2" "$1"
  fi
  _po_wrap "$2" "$3" "$4"
}

# _po_help_line NAME INDENT WIDTH: an option, what it means, its default if it has one.
_po_help_line() {
  local _po_label="  --${1//_/-}" _po_default=${!1-} _po_items="$1[*]"
  case ${_po_kinds[$1]} in
    bool) _po_label+=' true|false' ;;
    int) _po_label+=' <n>' ;;
    text) _po_label+=' <text>' ;;
    *)
      _po_label+=' <text> ...'
      _po_default=${!_po_items-}
      ;;
  esac
  _po_help_entry "$_po_label" "$2" "$3" "${_po_means[$1]}${_po_default:+ (default: $_po_default)}"
}

# The comment at the top of the script, then its options.
_po_help() {
  local _po_line _po_columns _po_indent=26 _po_name
  while IFS= read -r _po_line && [[ $_po_line == '#'* ]]; do
    [[ $_po_line != '#!'* && $_po_line != '# shellcheck '* ]] || continue
    _po_line=${_po_line#'#'}
    printf '%s\n' "${_po_line# }"
  done <"$_po_script"
  _po_columns=${COLUMNS:-$(stty size <&2 2>/dev/null || true)}
  _po_columns=${_po_columns##* }
  [[ $_po_columns =~ ^[1-9][0-9]*$ ]] || _po_columns=80
  ((_po_columns <= 110)) || _po_columns=110
  ((_po_columns >= 60)) || _po_indent=6
  ((_po_columns >= 30)) || _po_columns=30
  printf '\nOptions:\n'
  for _po_name in "${_po_names[@]}"; do
    _po_help_line "$_po_name" "$_po_indent" "$((_po_columns - _po_indent))"
  done
  _po_help_entry '  --config <file>' "$_po_indent" "$((_po_columns - _po_indent))" \
    "options from a file, --name=value a line; those of the command line win"
}

_po_read
_po_read_files "$@"
while [[ ${1-} == -?* ]]; do
  case $1 in
    -h | --help)
      _po_help
      exit 0
      ;;
    --)
      shift
      break
      ;;
  esac
  _po_option=${1%%=*}
  _po_name=${_po_option#--}
  _po_name=${_po_name//-/_}
  if [[ $1 == *=* ]]; then
    _po_value=${1#*=}
  elif (($# > 1)) && [[ $2 != --* ]]; then
    _po_value=$2
    shift
  elif [[ ${_po_kinds[$_po_name]-} == bool ]]; then
    _po_value=true
  elif [[ -n ${_po_kinds[$_po_name]-} ]]; then
    _po_fail "option '$_po_option' needs a value"
  fi
  [[ $_po_option == --config ]] || _po_set "$_po_option" "$_po_name" "${_po_value-}"
  shift
done

unset -f _po_read _po_fail _po_unknown _po_set _po_read_file _po_read_files _po_wrap _po_help_entry _po_help_line _po_help
unset _po_script _po_names _po_kinds _po_means _po_lines _po_where _po_option _po_name _po_value
