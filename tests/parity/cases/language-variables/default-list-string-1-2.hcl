variable "A" {
  type = list(string)
  default = [1,2]
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
