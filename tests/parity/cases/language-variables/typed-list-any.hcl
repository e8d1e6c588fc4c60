variable "A" { type = list(any) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
