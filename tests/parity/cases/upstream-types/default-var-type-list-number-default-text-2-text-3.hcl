variable "V" {
  type    = list(number)
  default = ["2", "3"]
}
target "default" { args = { v = join("", [for v in V : v + 1]) } }
