variable "A" {
  type = number
  default = "x"
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
