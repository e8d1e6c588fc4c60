variable "A" { type = list(string) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
