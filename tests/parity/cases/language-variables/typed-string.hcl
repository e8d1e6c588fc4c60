variable "A" { type = string }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
