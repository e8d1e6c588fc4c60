variable "A" { type = set(string) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
