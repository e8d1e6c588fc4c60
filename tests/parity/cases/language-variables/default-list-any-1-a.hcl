variable "A" {
  type = list(any)
  default = [1,"a"]
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
