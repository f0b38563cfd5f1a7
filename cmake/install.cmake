# Programs are installed by pmemd_program(); here is what goes with them.

install(FILES LICENSE README.md CHANGELOG.md ARCHITECTURE.md CONTRIBUTING.md TYPE DOC)
install(DIRECTORY docs TYPE DOC)
install(DIRECTORY client/examples TYPE DOC)
install(FILES core/control/org.pmemd.varlink DESTINATION ${CMAKE_INSTALL_DATADIR}/pmemd)
add_custom_target(product)
add_dependencies(product pmemd pmemctl pmemd_client pmemd_client_static pmemd_shim)

# pmemd_systemd_dir(<out> <variable of systemd.pc> <default>): where systemd wants a kind of file,
# below the prefix: /usr/lib/x or, before /usr was merged, /lib/x is lib/x here.
function(pmemd_systemd_dir out variable default)
  pkg_get_variable(dir systemd ${variable})
  if(NOT dir)
    set(dir ${default})
  endif()
  string(REGEX REPLACE "^(/usr)?/" "" dir "${dir}")
  set(${out} ${dir} PARENT_SCOPE)
endfunction()

pmemd_systemd_dir(unit_dir systemdsystemunitdir lib/systemd/system)
pmemd_systemd_dir(sysusers_dir sysusersdir lib/sysusers.d)
pmemd_systemd_dir(tmpfiles_dir tmpfilesdir lib/tmpfiles.d)
pmemd_install_configured(${PROJECT_SOURCE_DIR}/systemd/pmemd@.service.in
  ${unit_dir} pmemd@.service)
install(FILES systemd/pmemd.sysusers DESTINATION ${sysusers_dir} RENAME pmemd.conf)
install(FILES systemd/pmemd.tmpfiles DESTINATION ${tmpfiles_dir} RENAME pmemd.conf)
