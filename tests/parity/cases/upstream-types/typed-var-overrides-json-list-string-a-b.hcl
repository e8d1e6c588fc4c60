variable "V" {
  type = list(string)
}
target "default" { args = { v = join("-", V) } }
