variable "A" { default = 5 }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
