variable "A" { type = any }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
