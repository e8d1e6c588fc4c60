variable "A" { default = true }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
