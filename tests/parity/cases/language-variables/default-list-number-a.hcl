variable "A" {
  type = list(number)
  default = ["a"]
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
