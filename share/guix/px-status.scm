;; SPDX-License-Identifier: MIT
;; px-status for Guix: the package, and a service that makes user and folder and sends every minute.
;;
;; To build it from this tree:
;;     guix build -f share/guix/px-status.scm
;; In the configuration of a system, with this folder in the load path (guix system -L share/guix ...):
;;     (use-modules (px-status))
;;     (service px-status-service-type
;;              (px-status-configuration
;;               (config-file (local-file "px-status.conf"))))
;; Monit's control file then names the recorder as /run/current-system/profile/bin/px-status-event.
(define-module (px-status)
  #:use-module (gnu packages)
  #:use-module (gnu services)
  #:use-module (gnu services mcron)
  #:use-module (gnu services shepherd)
  #:use-module (gnu system shadow)
  #:use-module (guix build-system gnu)
  #:use-module (guix gexp)
  #:use-module ((guix licenses) #:prefix license:)
  #:use-module (guix packages)
  #:use-module (guix records)
  #:use-module (guix utils)
  #:export (px-status
            px-status-configuration
            px-status-configuration?
            px-status-service-type))

(define px-status
  (package
    (name "px-status")
    (version "0.1.0")
    (source (local-file "../.." "px-status-checkout"
                        #:recursive? #t
                        #:select? (lambda (file stat)
                                    (not (member (basename file) '("build" ".git"))))))
    (build-system gnu-build-system)
    (arguments
     (list
      ;; They install what they need by apt.
      #:tests? #f
      #:make-flags
      #~(list (string-append "CC=" #$(cc-for-target))
              (string-append "PREFIX=" #$output)
              "SYSCONFDIR=/etc"
              ;; It is loaded, not linked: no folder of it stands in the program.
              (string-append "LIBCURL=" #$(this-package-input "curl") "/lib/libcurl.so.4")
              "LOCALSTATEDIR=/var")
      #:phases
      #~(modify-phases %standard-phases
          (delete 'configure)
          (replace 'install
            ;; Configuration and spool are the service's to make; the store has the rest.
            (lambda* (#:key make-flags #:allow-other-keys)
              (apply invoke "make" "install" "DESTDIR=stage" make-flags)
              (delete-file (string-append "stage" #$output "/share/px-status/made-folders"))   ; for `make uninstall`
              (copy-recursively (string-append "stage" #$output) #$output))))))
    (inputs
     (map specification->package '("cjson" "curl" "libinih" "sqlite" "zlib")))
    (home-page "https://mmonit.com/monit/")
    (synopsis "Carry alerts and status of Monit to a central service")
    (description
     "Every alert that Monit raises, and the whole of its status every few minutes, is written to a spool on disk and
leaves it only when an HTTP service has acknowledged it.  A dead link, a power cut or a server that is down delays reports
and does not lose them.")
    (license license:expat)))

(define-record-type* <px-status-configuration>
  px-status-configuration make-px-status-configuration
  px-status-configuration?
  (package px-status-configuration-package
           (default px-status))
  ;; A file-like object that becomes /etc/px-status/px-status.conf.  #f: it is yours to make, as where it has secrets beside
  ;; it that are not for the store.
  (config-file px-status-configuration-config-file
               (default #f))
  ;; root where `command` or `token_command` need it: it gives root away for everything else.
  (user px-status-configuration-user
        (default "px-status"))
  ;; As the first argument of an mcron job.
  (schedule px-status-configuration-schedule
            (default "* * * * *")))

(define %px-status-accounts
  (list (user-group
         (name "px-status")
         (system? #t))
        (user-account
         (name "px-status")
         (group "px-status")
         (system? #t)
         (comment "px-status")
         (home-directory "/var/lib/px-status")
         (create-home-directory? #f)
         (shell "/run/current-system/profile/sbin/nologin"))))

;; A folder that is there keeps its owner and mode.
(define (px-status-activation config)
  #~(let ((folder "/var/lib/px-status")
          (user (getpwnam "px-status")))
      (unless (file-exists? folder)
        (mkdir folder #o700)
        (chown folder (passwd:uid user) (passwd:gid user)))))

(define (px-status-etc config)
  (let ((file (px-status-configuration-config-file config)))
    (if file
        `(("px-status/px-status.conf" ,file))
        '())))

(define (px-status-flush config)
  (file-append (px-status-configuration-package config) "/bin/px-status-flush"))

;; Two never run at once: a second one ends.  It prints nothing when it ends well, and nothing in an outage.
(define (px-status-jobs config)
  (list #~(job #$(px-status-configuration-schedule config)
               #$(px-status-flush config)
               #:user #$(px-status-configuration-user config))))

;; `herd start px-status-flush` sends now.
(define (px-status-shepherd-services config)
  (list (shepherd-service
         (provision '(px-status-flush))
         (requirement '(user-processes))
         (documentation "Send Monit's alerts and status to Central Management, once and now.")
         (one-shot? #t)
         (auto-start? #f)
         (start #~(make-forkexec-constructor
                   (list #$(px-status-flush config) "--now")
                   #:user #$(px-status-configuration-user config))))))

(define px-status-service-type
  (service-type
   (name 'px-status)
   (extensions
    (list (service-extension account-service-type
                             (const %px-status-accounts))
          (service-extension activation-service-type
                             px-status-activation)
          (service-extension etc-service-type
                             px-status-etc)
          (service-extension mcron-service-type
                             px-status-jobs)
          (service-extension shepherd-root-service-type
                             px-status-shepherd-services)
          (service-extension profile-service-type
                             (compose list px-status-configuration-package))))
   (default-value (px-status-configuration))
   (description "Make the user and the folder of px-status, and send its spool every minute.")))

px-status
