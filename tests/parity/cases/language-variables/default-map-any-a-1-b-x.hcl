variable "A" {
  type = map(any)
  default = {a=1,b="x"}
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
