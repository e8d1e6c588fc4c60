variable "A" {
  type = tuple([string])
  default = ["a","b"]
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
