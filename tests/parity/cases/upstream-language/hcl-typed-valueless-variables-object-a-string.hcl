variable "N" {
  type = object({a=string})
}
target "default" { args = { null = equal(N, null) } }
