target "app" {
 name="zz"
 matrix = {}
 args={a=1}
}
