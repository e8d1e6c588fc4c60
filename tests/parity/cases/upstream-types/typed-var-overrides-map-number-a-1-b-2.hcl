variable "V" {
  type = map(number)
}
target "default" { args = { v = join("-", sort(values(V))) } }
