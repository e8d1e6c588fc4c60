variable "A" {
  type = string
  default = 5
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
