variable "A" {
  type = bool
  default = "true"
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
