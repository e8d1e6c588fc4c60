function "in" {
  params = [x]
  result = "[${x}]"
}
function "loud" {
  params = [x]
  result = "${upper(x)} <> ${in(second)}"
}
first  = loud("a")
second = lower("B")
target "default" { args = { v = first } }
