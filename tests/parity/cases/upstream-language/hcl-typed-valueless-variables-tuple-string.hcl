variable "N" {
  type = tuple([string])
}
target "default" { args = { null = equal(N, null) } }
