variable "A" { default = {} }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
