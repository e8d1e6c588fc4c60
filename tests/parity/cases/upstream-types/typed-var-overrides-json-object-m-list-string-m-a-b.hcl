variable "V" {
  type = object({m = list(string)})
}
target "default" { args = { v = join("-", V["m"]) } }
