variable "A" {
  type = set(string)
  default = ["b","a","a"]
}
target "default" {
  args = {
    v = jsonencode(A)
  }
}
