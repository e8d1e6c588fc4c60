variable "V" { default = "v" }
function "a" {
 params=[l]
 result="${V}${l}"
}
target "default" {
  args = {
    v = a("x")
  }
}
