variable "N" {
  type    = object({a=string})
  default = null
}
target "default" { args = { null = equal(N, null) } }
