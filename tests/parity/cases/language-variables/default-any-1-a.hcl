variable "A" {
  type = any
  default = [1,"a"]
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
