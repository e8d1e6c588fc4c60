variable "A" {
  type = number
  default = "99"
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
