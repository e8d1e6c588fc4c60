variable "A" { type = tuple([string,number]) }
target "default" {
  args = {
    v = jsonencode(A)
  }
}
