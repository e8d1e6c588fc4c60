target "app" {
 name = "app"
 matrix={a=[1]}
 args={v=a}
}
