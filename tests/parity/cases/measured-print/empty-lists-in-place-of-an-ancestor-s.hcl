target "p" {
  tags      = ["t"]
  platforms = ["linux/amd64"]
  output    = ["type=image"]
  cache-to  = ["type=inline"]
}
target "a" {
  inherits  = ["p"]
  tags      = []
  platforms = []
  output    = []
  cache-to  = []
}
