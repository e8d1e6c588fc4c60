target "app" {
 matrix = {}
 args={a=1}
}
