variable "A" {
  type = map(string)
  default = {a=1}
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
