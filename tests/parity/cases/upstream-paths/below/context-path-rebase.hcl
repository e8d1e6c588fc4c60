target "linked" {
  context = "linked"
}
target "t" {
  context    = "."
  dockerfile = "D"
  contexts = {
    beside = "../beside"
    here   = "cwd://local"
    link   = "target:linked"
    image  = "docker-image://alpine:3"
    layout = "oci-layout://layout"
  }
}
